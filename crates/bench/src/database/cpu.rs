//! What processor time the server took, whoever else is at work on the machine.

use std::fs;

/// Ticks of the kernel's clock in a second; so it is on every Linux that we know.
const TICK_US: u64 = 10_000;

/// The processor time of a server so far, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu(u64);

impl Cpu {
    /// That of the server whose session has the process `pid`: all of its processes, and those
    /// that have ended.
    pub(super) fn of_server(pid: i32) -> Result<Self, String> {
        let server = Stat::of(&pid.to_string())?.parent;
        let own = Stat::of(&server)?;
        let mut ticks = own.ticks + own.ticks_of_ended;
        let entries = fs::read_dir("/proc").map_err(|error| error.to_string())?;
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.chars().all(|c| c.is_ascii_digit()) {
                continue;
            }
            // A process may end while it is looked for.
            if let Ok(stat) = Stat::of(&name)
                && stat.parent == server
            {
                ticks += stat.ticks;
            }
        }
        Ok(Self(ticks * TICK_US))
    }

    /// Microseconds since `before` for each of `count`.
    pub(super) fn since(self, before: Self, count: u64) -> u64 {
        self.0.saturating_sub(before.0) / count.max(1)
    }
}

struct Stat {
    parent: String,
    ticks: u64,
    ticks_of_ended: u64,
}

impl Stat {
    fn of(pid: &str) -> Result<Self, String> {
        let unreadable = || format!("/proc/{pid}/stat cannot be read");
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| unreadable())?;
        // The name, in parentheses, may hold anything.
        let (_, fields) = text.rsplit_once(") ").ok_or_else(unreadable)?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok());
        let ticks = |at: usize| Some(number(at)? + number(at + 1)?);
        let (Some(own), Some(ended)) = (ticks(11), ticks(13)) else {
            return Err(unreadable());
        };
        Ok(Self {
            parent: fields[1].to_owned(),
            ticks: own,
            ticks_of_ended: ended,
        })
    }
}
