//! Files that are old or new, never half.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Replaces `target` by what was written to `fresh`, durably.
pub(crate) fn put_in_place(fresh: &Path, target: &Path) -> io::Result<()> {
    File::open(fresh)?.sync_all()?;
    fs::rename(fresh, target)?;
    sync_directory(target)
}

/// Replaces `target` by `content`, durably; only its owner may read it.
pub(crate) fn replace(target: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = target.with_extension("new");
    let written = write_fresh(&fresh, content).and_then(|()| put_in_place(&fresh, target));
    if written.is_err() {
        // What is left of the attempt is of no use, and space may be short.
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn write_fresh(fresh: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)?;
    file.write_all(content)
}

/// Makes `target` with `content`, unless there is one; durably, and as one.
pub(crate) fn create_once(target: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = target.with_extension("new");
    write_fresh(&fresh, content)?;
    File::open(&fresh)?.sync_all()?;
    let linked = fs::hard_link(&fresh, target);
    fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(target),
    }
}

fn sync_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
