//! The state directory and the lock that keeps a second server out of it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::config::{Identity, SupervisorError};

/// The lock's name in the state directory.
const LOCK: &str = "lock";

/// Makes the state directory. Others may pass through it, to the release and the data of an
/// instance that runs as another user, and list nothing; every file in it guards itself.
///
/// One that exists is taken over only if it is empty or was one before:
/// nobody who names the wrong directory loses access to what is in it.
pub(crate) fn make(state: &Path, owner: Option<Identity>) -> Result<(), SupervisorError> {
    let failed = |doing: &str, error| {
        SupervisorError::os(
            format!("{doing} the state directory {}", state.display()),
            error,
        )
    };
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(state);
    made.map_err(|error| failed("make", error))?;
    let mut entries = fs::read_dir(state).map_err(|error| failed("read", error))?;
    if entries.next().is_some() && !state.join(LOCK).exists() {
        return Ok(());
    }
    fs::set_permissions(state, fs::Permissions::from_mode(0o711))
        .map_err(|error| failed("protect", error))?;
    if let Some(owner) = owner {
        std::os::unix::fs::chown(state, Some(owner.uid), Some(owner.gid))
            .map_err(|error| failed("hand over", error))?;
    }
    Ok(())
}

/// Holds the lock of the state directory until dropped, or until this process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl AsRawFd for Lock {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Lock {
    /// Takes the lock and writes this process' id into it.
    pub(crate) fn take(state: &Path) -> Result<Self, SupervisorError> {
        let path = state.join(LOCK);
        let os =
            |error: std::io::Error| SupervisorError::os(format!("lock {}", path.display()), error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(os)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(SupervisorError::Locked {
                    state: state.to_owned(),
                    pid: holder(&mut file),
                });
            }
            Err(error) => return Err(os(error.into())),
        }
        file.set_len(0).map_err(os)?;
        writeln!(file, "{}", std::process::id()).map_err(os)?;
        Ok(Self { file })
    }

    /// The lock as this process has held it before.
    pub(crate) fn held(file: OwnedFd) -> Self {
        Self { file: file.into() }
    }
}

/// The pid in a lock held by another; it may be written a moment after the lock is taken.
fn holder(file: &mut File) -> u32 {
    for _ in 0..20 {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if let (Ok(_), Ok(pid)) = (read, text.trim().parse()) {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    0
}

/// The process that holds the lock of a state directory, as the kernel tells it: to try the lock
/// would keep out a server that starts at that moment.
#[must_use]
pub fn server_of(state: &Path) -> Option<u32> {
    let lock = fs::metadata(state.join(LOCK)).ok()?;
    let (major, minor) = (rustix::fs::major(lock.dev()), rustix::fs::minor(lock.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", lock.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let held = locks.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == "FLOCK")?;
        let (pid, locked) = (words.nth(2)?, words.next()?);
        (locked == file).then_some(pid)
    });
    held?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("state");
        make(&state, None).unwrap();
        let first = Lock::take(&state).unwrap();
        let refused = Lock::take(&state).unwrap_err();
        let own = std::process::id();
        assert!(matches!(refused, SupervisorError::Locked { pid, .. } if pid == own));
        assert_eq!(server_of(&state), Some(own));
        drop(first);
        assert_eq!(server_of(&state), None);
        Lock::take(&state).unwrap();
    }

    #[test]
    fn the_directory_is_for_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("a/b");
        make(&state, None).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        make(&state, None).unwrap();
        let mode = fs::metadata(&state).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o711);
    }

    #[test]
    fn a_directory_with_other_things_keeps_its_mode() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("something"), b"").unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make(parent.path(), None).unwrap();
        assert_eq!(
            fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777,
            0o755
        );
    }
}
