//! A file whose space is freed for what must be written when the disk is full.

use std::fs;
use std::path::{Path, PathBuf};

const FILE: &str = "reserve";
const BYTES: u64 = 1024 * 1024;

/// One mebibyte set aside.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Sets the space aside if it is not yet; a full disk is no error.
    pub(super) fn keep(state: &Path) -> Self {
        let reserve = Self {
            path: state.join(FILE),
        };
        reserve.refill();
        reserve
    }

    /// Sets the space aside again, when there is some.
    pub(super) fn refill(&self) {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == BYTES) {
            return;
        }
        if let Err(error) = self.allocate() {
            tracing::warn!(%error, path = %self.path.display(), "no space can be set aside");
            self.free();
        }
    }

    fn allocate(&self) -> std::io::Result<()> {
        let file = fs::File::create(&self.path)?;
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, BYTES)?;
        file.sync_all()
    }

    /// Gives the space to others.
    pub(super) fn free(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}
