//! The one place that turns a mapped file into the layout.

#![expect(
    unsafe_code,
    reason = "memory shared between processes can only be reached through a pointer"
)]

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use memmap2::{MmapOptions, MmapRaw};

use crate::layout::{LAYOUT, Layout};

/// The size of the memory file in bytes.
pub const SIZE: u64 = size_of::<Layout>() as u64;

/// Why a file cannot be used as the ledger.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The kernel refused.
    #[error("the ledger's memory cannot be mapped")]
    Map(#[from] std::io::Error),
    /// The file is too small.
    #[error("the ledger's memory has {found} bytes instead of {SIZE}")]
    Size {
        /// Its size.
        found: u64,
    },
    /// Another version wrote it.
    #[error("the ledger's memory has layout {found:#x} instead of {LAYOUT:#x}")]
    Layout {
        /// Its first word.
        found: u64,
    },
}

/// A mapping of the file; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Mapping(Arc<MmapRaw>);

impl Mapping {
    /// Maps the file, and marks it with our layout if it is new (all zeros).
    pub(crate) fn new(fd: impl AsFd) -> Result<Self, MapError> {
        let fd = fd.as_fd();
        let stat = rustix::fs::fstat(fd).map_err(std::io::Error::from)?;
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if found < SIZE {
            return Err(MapError::Size { found });
        }
        let bytes = usize::try_from(SIZE).expect("the layout fits the address space");
        let raw = MmapOptions::new().len(bytes).map_raw(fd.as_raw_fd())?;
        let mapping = Self(Arc::new(raw));
        let mark = &mapping.layout().layout;
        match mark.compare_exchange(0, LAYOUT, AcqRel, Acquire) {
            Ok(_) => Ok(mapping),
            Err(LAYOUT) => Ok(mapping),
            Err(found) => Err(MapError::Layout { found }),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        // SAFETY: the mapping is page-aligned, at least SIZE bytes long (checked against the
        // file's size, which the supervisor never shrinks), lives as long as `self`, and every
        // field of the layout is an atomic for which any bytes are valid.
        unsafe { &*self.0.as_ptr().cast::<Layout>() }
    }
}
