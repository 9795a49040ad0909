//! The access log: one JSON line for each request, written off the hot path.
//!
//! A proxy thread collects its lines and hands them over ten times a second, or when there are
//! many; a thread of its own writes them. What that thread cannot take in time is dropped and
//! counted, so that a slow disk holds up nobody. A worker that is killed takes the last lines
//! with it.

mod file;
mod line;

use std::cell::{Cell as Local, RefCell};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use model::AccessLog;

pub(crate) use line::{Account, By, Line, Stage, Termination};

use file::Files;

/// Collected bytes that are handed over at once.
const BATCH_BYTES: usize = 32 * 1024;
/// Batches that wait to be written, over all threads.
const WAITING_MAX: usize = 64;

/// Where the access log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPlace {
    /// The directory; made when there is something to write.
    pub directory: PathBuf,
    /// The worker's generation: two workers never write to one file.
    pub generation: u64,
}

/// Lines of one thread.
#[derive(Debug)]
struct Batch {
    text: Vec<u8>,
    bounds: AccessLog,
}

/// The thread that writes; it ends when every [`Access`] is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: SyncSender<Batch>,
    handle: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn start(place: AccessPlace) -> io::Result<Self> {
        let (batches, waiting) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let handle = thread.spawn(move || write_all(Files::new(place), &waiting))?;
        Ok(Self { batches, handle })
    }

    /// The near end for one thread.
    pub(crate) fn access(&self) -> Access {
        Access {
            batches: Some(self.batches.clone()),
            ..Access::default()
        }
    }

    /// Waits until everything is written; the proxy's threads have ended.
    pub(crate) fn end(self) {
        drop(self.batches);
        if self.handle.join().is_err() {
            tracing::error!("the access log's thread panicked");
        }
    }
}

fn write_all(mut files: Files, waiting: &Receiver<Batch>) {
    let mut is_failing = false;
    while let Ok(batch) = waiting.recv() {
        let written = files.write(&batch.text, batch.bounds);
        if let (Err(error), false) = (&written, is_failing) {
            tracing::warn!(%error, "the access log cannot be written; its lines are lost");
        }
        is_failing = written.is_err();
    }
}

/// What one proxy thread has for the access log.
#[derive(Debug, Default)]
pub(crate) struct Access {
    batches: Option<SyncSender<Batch>>,
    bounds: Local<Option<AccessLog>>,
    text: RefCell<Vec<u8>>,
    lines: Local<u64>,
    dropped: Local<u64>,
}

impl Access {
    /// Follows the table: whether there is a log, and how large.
    pub(crate) fn set(&self, bounds: Option<AccessLog>) {
        if bounds != self.bounds.get() {
            self.flush();
            self.bounds.set(bounds);
        }
    }

    /// True if requests are to be noted.
    pub(crate) fn is_on(&self) -> bool {
        self.bounds.get().is_some() && self.batches.is_some()
    }

    /// Notes a request that has ended.
    pub(crate) fn note(&self, line: &Line<'_>) {
        let Some(bounds) = self.bounds.get() else {
            return;
        };
        let mut text = self.text.borrow_mut();
        line.write((bounds.query, self.dropped.take()), &mut text);
        self.lines.set(self.lines.get() + 1);
        let is_full = text.len() >= BATCH_BYTES;
        drop(text);
        if is_full {
            self.flush();
        }
    }

    /// Hands over what was collected.
    pub(crate) fn flush(&self) {
        let (Some(bounds), Some(batches)) = (self.bounds.get(), &self.batches) else {
            return;
        };
        let lines = self.lines.take();
        if lines == 0 {
            return;
        }
        let text = std::mem::take(&mut *self.text.borrow_mut());
        match batches.try_send(Batch { text, bounds }) {
            Ok(()) => {}
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                // The next line that is written says so.
                self.dropped.set(self.dropped.get() + lines);
                let mut text = batch.text;
                text.clear();
                self.text.replace(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::QueryShown;

    const BOUNDS: AccessLog = AccessLog {
        file_bytes_max: 1_000,
        files_max: 3,
        query: QueryShown::No,
    };

    #[test]
    fn a_writer_that_does_not_come_along_costs_lines_and_they_are_counted() {
        let (batches, waiting) = sync_channel(1);
        let access = Access {
            batches: Some(batches),
            ..Access::default()
        };
        access.set(Some(BOUNDS));
        let note = || access.note(&Line::default());
        note();
        access.flush();
        note();
        note();
        access.flush();
        assert_eq!(access.dropped.get(), 2);
        let text = String::from_utf8(waiting.recv().unwrap().text).unwrap();
        assert!(!text.contains("dropped"), "{text}");
        note();
        access.flush();
        let text = String::from_utf8(waiting.recv().unwrap().text).unwrap();
        assert!(text.contains(r#""dropped":2"#), "{text}");
        assert_eq!(access.dropped.get(), 0);
    }

    #[test]
    fn files_follow_one_another_and_the_oldest_go() {
        let directory = std::env::temp_dir().join(format!("access-log-{}", std::process::id()));
        let place = AccessPlace {
            directory: directory.clone(),
            generation: 7,
        };
        let mut files = Files::new(place);
        for _ in 0..10 {
            files.write(&[b'x'; 600], BOUNDS).unwrap();
        }
        let mut kept: Vec<String> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        kept.sort();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(
            kept,
            [
                "access-0000000007-000003.jsonl",
                "access-0000000007-000004.jsonl",
                "access-0000000007-000005.jsonl"
            ]
        );
    }
}
