//! Artefacts: a file or directory, streamed in, stored once under its digest, never changed.
//!
//! The command line packs what it finds into a stream; the server, which
//! opens no path that a client names, unpacks the stream into its store and
//! computes the digest itself. Equal paths, modes and content have the same
//! digest everywhere. The stream is a tar archive of files, directories and
//! symbolic links, ended by its own digest, so that a torn one is noticed.

mod archive;
mod scan;
mod store;
mod tree;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use archive::pack;
pub use scan::digest;
pub use store::Store;

/// The most that one artefact may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactBounds {
    /// Files, directories and links.
    pub entries_max: u64,
    /// Bytes of all files together.
    pub bytes_max: u64,
}

impl Default for ArtifactBounds {
    /// 200 000 entries, 4 GiB.
    fn default() -> Self {
        Self {
            entries_max: 200_000,
            bytes_max: 4 << 30,
        }
    }
}

/// Why an artefact was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file could not be read or written.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The stream failed or is no archive.
    #[error("the stream of the artefact failed")]
    Stream(#[source] io::Error),
    /// The stream ended early or was damaged.
    #[error("the stream of the artefact is incomplete or damaged")]
    Damaged,
    /// A device, socket or pipe.
    #[error("{path} is no file, directory or symbolic link")]
    Special {
        /// Where.
        path: String,
    },
    /// A symbolic link that leads out of the artefact.
    #[error("symbolic link {path} leads out of the artefact, to {target}")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A path that cannot be part of an artefact.
    #[error("path {path:?} cannot be part of an artefact: {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too many entries.
    #[error("the artefact has more than {max} files and directories")]
    TooManyEntries {
        /// How many are allowed.
        max: u64,
    },
    /// Too many bytes.
    #[error("the artefact has more than {max} bytes")]
    TooLarge {
        /// How many are allowed.
        max: u64,
    },
    /// A file that changed while it was read.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: String,
    },
}

impl ArtifactError {
    fn io(doing: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
