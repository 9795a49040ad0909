//! The last table in a file of its own, so that traffic goes on when the database cannot be read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use model::Audience;
use serde::{Deserialize, Serialize};
use traffic::Table;

use crate::files;

const FILE: &str = "table.json";

/// A table as it was published; values of secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTable {
    /// The table, without its audiences.
    pub table: Table,
    /// Audiences by the index of their service, secrets as names.
    pub audiences: BTreeMap<usize, Vec<Audience>>,
}

impl LastTable {
    /// Reads it from the state directory; `None` when there is none that can be read.
    #[must_use]
    pub fn read(state: &Path) -> Option<Self> {
        let text = std::fs::read(state.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it to the state directory, durably and as one.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the one before stays.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        files::replace(&state.join(FILE), &text)
    }
}

/// Writes tables one after the other in a thread of its own: the disk keeps nobody waiting.
#[derive(Debug)]
pub(crate) struct TableWriter {
    queue: Option<mpsc::Sender<LastTable>>,
    thread: Option<JoinHandle<()>>,
}

impl TableWriter {
    pub(crate) fn start(state: PathBuf) -> io::Result<Self> {
        let (queue, tables) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("last-table".to_owned())
            .spawn(move || write_all(&state, &tables))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Has `table` written, soon.
    pub(crate) fn write(&self, table: LastTable) {
        // The thread ends only with its queue.
        if let Some(queue) = &self.queue {
            let _ = queue.send(table);
        }
    }
}

impl Drop for TableWriter {
    /// Waits for the last table: the next worker's must not be overwritten by it.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that writes the last table panicked");
        }
    }
}

fn write_all(state: &Path, tables: &mpsc::Receiver<LastTable>) {
    while let Ok(next) = tables.recv() {
        // Only the newest matters.
        let newest = tables.try_iter().last().unwrap_or(next);
        if let Err(error) = newest.write(state) {
            tracing::warn!(%error, "the last table is not written beside the database");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;

    #[test]
    fn the_newest_table_is_the_one_that_is_read() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(LastTable::read(state.path()), None);
        let table = |revision| LastTable {
            table: Table {
                revision: Revision(revision),
                ..Table::default()
            },
            audiences: BTreeMap::new(),
        };
        let (queue, tables) = mpsc::channel();
        (1..=3).for_each(|revision| queue.send(table(revision)).unwrap());
        drop(queue);
        write_all(state.path(), &tables);
        assert_eq!(LastTable::read(state.path()), Some(table(3)));
    }

    #[test]
    fn a_torn_file_is_no_table() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), b"{\"table\":{").unwrap();
        assert_eq!(LastTable::read(state.path()), None);
    }
}
