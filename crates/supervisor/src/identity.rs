//! How processes of a supervisor are recognised after its death.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::proc;

/// Carries the [`ServerId`] into every worker and child.
pub(crate) const SERVER_VARIABLE: &str = "GAPLESS_SERVER";

/// Carries the key into every child.
pub(crate) const KEY_VARIABLE: &str = "GAPLESS_KEY";

/// Carries what to do with a handover, and its descriptor, into another binary.
pub(crate) const HANDOVER_VARIABLE: &str = "GAPLESS_HANDOVER";

/// One life of a server: its state directory and its supervisor process.
///
/// The directory counts by device and inode, so every path to it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
}

impl ServerId {
    /// This process as the supervisor of `state`.
    pub(crate) fn own(state: &Path) -> std::io::Result<Self> {
        let directory = fs::metadata(state)?;
        let pid = std::process::id();
        let start_time = proc::process(pid).map_or(0, |process| process.start_time);
        Ok(Self {
            device: directory.dev(),
            inode: directory.ino(),
            pid,
            start_time,
        })
    }

    /// The value of [`SERVER_VARIABLE`].
    pub(crate) fn to_text(self) -> String {
        format!(
            "{:x}.{:x}.{}.{}",
            self.device, self.inode, self.pid, self.start_time
        )
    }

    /// Reads the value of [`SERVER_VARIABLE`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let id = Self {
            device: u64::from_str_radix(parts.next()?, 16).ok()?,
            inode: u64::from_str_radix(parts.next()?, 16).ok()?,
            pid: parts.next()?.parse().ok()?,
            start_time: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(id)
    }

    /// Whether the supervisor of this life still runs.
    pub(crate) fn alive(self) -> bool {
        proc::process(self.pid)
            .is_some_and(|found| found.start_time == self.start_time && !found.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_environment() {
        let id = ServerId {
            device: 0xfe01,
            inode: 77,
            pid: 42,
            start_time: 991,
        };
        assert_eq!(ServerId::parse(&id.to_text()), Some(id));
        for text in ["", "1.2.3", "1.2.3.4.5", "x.2.3.4", "1.2.-3.4"] {
            assert_eq!(ServerId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_same_life_is_alive() {
        let own = ServerId::own(Path::new("/")).unwrap();
        assert!(own.alive());
        assert!(
            !ServerId {
                start_time: own.start_time + 1,
                ..own
            }
            .alive()
        );
    }
}
