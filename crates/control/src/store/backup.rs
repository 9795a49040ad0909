//! A copy of the database, for the day it is damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::{Store, StoreError};
use crate::files;

/// Pages copied at once.
const PAGES: i32 = 1_000;

/// Between two such, so that writes get their turn.
const PAUSE: Duration = Duration::from_millis(1);

/// Where a database is, and where its copy goes.
#[derive(Debug, Clone)]
pub(crate) struct Copying {
    path: PathBuf,
    backup_path: PathBuf,
}

impl Store {
    /// What is needed to copy the database, also from another thread.
    pub(crate) fn copying(&self) -> Copying {
        Copying {
            path: self.path.clone(),
            backup_path: self.backup_path.clone(),
        }
    }
}

impl Copying {
    /// Copies the whole database beside itself; the copy replaces the one before as one.
    ///
    /// # Errors
    ///
    /// When the copy cannot be written; the one before stays.
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        let fresh = self.backup_path.with_extension("new");
        let result = self.copy_to(&fresh);
        if result.is_err() {
            // What is left of the attempt is of no use, and space may be short.
            let _ = fs::remove_file(&fresh);
        }
        result
    }

    fn copy_to(&self, fresh: &Path) -> Result<(), StoreError> {
        let fail = StoreError::sqlite("copy the database");
        let _ = fs::remove_file(fresh);
        super::private_file(fresh).map_err(|source| StoreError::io("make", fresh, source))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(&self.path, flags).map_err(&fail)?;
        source.busy_timeout(super::BUSY_TIMEOUT).map_err(&fail)?;
        let mut target = Connection::open(fresh).map_err(&fail)?;
        {
            let copying = Backup::new(&source, &mut target).map_err(&fail)?;
            copying
                .run_to_completion(PAGES, PAUSE, None)
                .map_err(&fail)?;
        }
        // The copy is one file: no log beside it that could be forgotten.
        target
            .execute_batch("PRAGMA journal_mode = DELETE;")
            .map_err(&fail)?;
        target.close().map_err(|(_, error)| fail(error))?;
        files::put_in_place(fresh, &self.backup_path)
            .map_err(|source| StoreError::io("replace", &self.backup_path, source))
    }
}
