//! Why the database cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use model::Epoch;
use rusqlite::ErrorCode;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is damaged.
    #[error(
        "the database {path} is damaged ({found}); traffic goes on with the last table. \
         Stop the server, move {path} and {path}-wal away, copy {backup} to {path} and start it \
         again: what was decided after that copy is found out anew",
        path = path.display(), backup = backup.display()
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Its last copy.
        backup: PathBuf,
        /// What the check found.
        found: String,
    },
    /// A later version wrote the database.
    #[error(
        "the database {path} has version {version}, and this binary reads versions up to \
         {supported}: start a newer binary",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// Another worker has taken control.
    #[error("another worker holds control since epoch {}", epoch.0)]
    Fenced {
        /// Its epoch.
        epoch: Epoch,
    },
    /// No space is left.
    #[error("no space is left for the database")]
    Full,
    /// The state directory or the database may not be written.
    #[error("the database may not be written: is the state directory read-only?")]
    ReadOnly,
    /// What is stored cannot be understood.
    #[error("stored {what} cannot be read")]
    Malformed {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The database failed.
    #[error("cannot {doing}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// A file failed.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            _ => Self::Sqlite { doing, source },
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Malformed {
            what: what.into(),
            source,
        }
    }

    pub(super) fn corrupt(path: &Path, backup: &Path, found: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            backup: backup.to_owned(),
            found: found.into(),
        }
    }

    pub(super) fn from_opening(path: &Path, backup: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::corrupt(path, backup, source.to_string())
            }
            _ => Self::sqlite("open the database")(source),
        }
    }

    /// Whether freeing space might help.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            // The write-ahead log reports a full disk as a failed write.
            Self::Sqlite { source, .. } => {
                source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
            }
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::Fenced { .. }
            | Self::ReadOnly
            | Self::Malformed { .. } => false,
        }
    }

    /// The error and its sources in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::chain(self)
    }
}
