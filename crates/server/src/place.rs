//! Paths of sockets, which may be no longer than the kernel's 107 bytes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The longest path of a socket.
const PATH_BYTES_MAX: usize = 107;

/// A directory under a name that is short enough for the sockets in it.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    /// The short name leads through this descriptor.
    _open: Option<File>,
}

impl Place {
    /// Finds a name of `directory` for a socket whose own name has `name_bytes`.
    pub(crate) fn of(directory: &Path, name_bytes: usize) -> io::Result<Self> {
        if directory.as_os_str().len() + 1 + name_bytes <= PATH_BYTES_MAX {
            return Ok(Self {
                directory: directory.to_owned(),
                _open: None,
            });
        }
        let open = File::open(directory)?;
        Ok(Self {
            directory: PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())),
            _open: Some(open),
        })
    }

    /// The path of a file in the directory; good for as long as this lives.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
