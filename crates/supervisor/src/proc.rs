//! What `/proc` tells about processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal};

/// More environment than this is not read.
const ENVIRON_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The kernel's flag of a process on its way out.
const EXITING: u64 = 4;

/// One process as seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// In clock ticks after boot.
    pub(crate) start_time: u64,
    pub(crate) name: String,
    /// It runs no more; only its exit status may still be there.
    pub(crate) ended: bool,
}

/// All processes as seen at one moment, by pid.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) processes: BTreeMap<u32, Process>,
}

impl Table {
    /// Looks at all processes now.
    pub(crate) fn read() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Self::default();
        };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Self {
            processes: pids
                .filter_map(process)
                .map(|found| (found.pid, found))
                .collect(),
        }
    }

    /// All descendants of `ancestors`, without themselves.
    pub(crate) fn descendants(&self, ancestors: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut by_parent: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for process in self.processes.values() {
            by_parent
                .entry(process.parent)
                .or_default()
                .push(process.pid);
        }
        let mut found = BTreeSet::new();
        let mut open: Vec<u32> = ancestors.iter().copied().collect();
        while let Some(parent) = open.pop() {
            for pid in by_parent.get(&parent).into_iter().flatten() {
                if !ancestors.contains(pid) && found.insert(*pid) {
                    open.push(*pid);
                }
            }
        }
        found
    }
}

/// Looks at one process; `None` when there is none.
pub(crate) fn process(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// Reads a line of `/proc/PID/stat`; the name may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let id = |index: usize| u32::try_from(number(index)?).ok();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: id(1)?,
        group: id(2)?,
        session: id(3)?,
        start_time: number(19)?,
        name: name.to_owned(),
        // Its descriptors are closed before it becomes a zombie, and a zombie
        // whose other threads run is alive.
        ended: (matches!(*fields.first()?, "Z" | "X") || number(6)? & EXITING != 0)
            && number(17)? <= 1,
    })
}

/// The value of some variables in the environment that a process began with.
///
/// Empty when the process is gone or may not be looked at.
pub(crate) fn environment(pid: u32, names: &[&str]) -> BTreeMap<String, String> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
        let _gone = file.take(ENVIRON_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .filter(|(name, _)| names.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether a process holds one of these sockets, by inode.
pub(crate) fn sockets_held(pid: u32, inodes: &BTreeSet<u64>) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let inode = |link: PathBuf| {
        link.to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse::<u64>()
            .ok()
    };
    entries
        .filter_map(|entry| inode(fs::read_link(entry.ok()?.path()).ok()?))
        .filter(|inode| inodes.contains(inode))
        .collect()
}

/// Sends a signal to the process that had this pid and start, and to no other.
pub(crate) fn signal_exact(pid: u32, start_time: u64, signal: Signal) -> io::Result<()> {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    let descriptor = match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The descriptor pins the process: if the start is right now, it stays right.
    if process(pid).is_none_or(|found| found.start_time != start_time) {
        return Ok(());
    }
    match rustix::process::pidfd_send_signal(&descriptor, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Now, in clock ticks after boot.
pub(crate) fn ticks_now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * per_second + nanos * per_second / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read() {
        let line = "42 (a) (b c) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 991 1 2";
        let process = parse_stat(line).unwrap();
        assert_eq!(
            (process.pid, process.parent, process.group, process.session),
            (42, 7, 42, 40)
        );
        assert_eq!(
            (process.name.as_str(), process.start_time),
            ("a) (b c", 991)
        );
        assert!(!process.ended);
    }

    #[test]
    fn a_process_has_ended_when_its_last_thread_leaves() {
        let ended = |state: &str, flags: u32, threads: u32| {
            let line =
                format!("1 (p) {state} 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 991 1");
            parse_stat(&line).unwrap().ended
        };
        assert!(ended("Z", 0x40_0004, 1) && ended("R", 0x40_0004, 1) && ended("X", 0, 0));
        assert!(!ended("S", 0x40_0000, 1) && !ended("Z", 0x40_0004, 3));
    }

    #[test]
    fn whoever_took_a_number_over_is_not_signalled() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let began = process(child.id()).unwrap().start_time;
        // As if the one that was meant had ended, and its number been given to this one.
        for other in [began - 1, began + 1] {
            signal_exact(child.id(), other, Signal::KILL).unwrap();
        }
        signal_exact(child.id(), began, Signal::TERM).unwrap();
        let ended = child.wait().unwrap();
        let by = std::os::unix::process::ExitStatusExt::signal(&ended);
        assert_eq!(
            by,
            Some(Signal::TERM.as_raw()),
            "nothing else has reached it"
        );
    }

    #[test]
    fn truncated_lines_are_no_process() {
        for line in ["", "42", "42 (a", "42 (a) S 7", "x (a) S 1 2 3"] {
            assert_eq!(parse_stat(line), None, "{line}");
        }
    }

    #[test]
    fn descendants_follow_every_generation_but_not_strangers() {
        let process = |pid, parent| {
            let line = format!("{pid} (p) S {parent} 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5 0");
            (pid, parse_stat(&line).unwrap())
        };
        let rows = [process(2, 1), process(3, 2), process(4, 3), process(9, 8)];
        let table = Table {
            processes: rows.into_iter().collect(),
        };
        assert_eq!(
            table.descendants(&BTreeSet::from([2])),
            BTreeSet::from([3, 4])
        );
    }

    #[test]
    fn this_process_is_found_with_its_environment() {
        let own = std::process::id();
        assert!(Table::read().processes.contains_key(&own));
        let path = environment(own, &["PATH"]);
        assert_eq!(
            path.get("PATH").map(String::as_str),
            option_env_path().as_deref()
        );
    }

    fn option_env_path() -> Option<String> {
        std::env::var("PATH").ok()
    }
}
