//! The thread that writes lines to disk, and the bounded queue to it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::line::{self, LogLine};

/// Bytes of text that wait to be written; more is dropped.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a line costs in the queue beside its text.
const LINE_BYTES: usize = 256;

/// How much of each service's output is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// A file this large is followed by the next.
    pub file_bytes_max: u64,
    /// Files kept, the one being written included; at least 2.
    pub files_max: u32,
}

impl Default for LogBounds {
    /// Four files of 16 MiB.
    fn default() -> Self {
        Self {
            file_bytes_max: 16 << 20,
            files_max: 4,
        }
    }
}

/// A service's file of this age; 0 is being written.
pub(super) fn file_name(age: u32) -> String {
    match age {
        0 => "log.jsonl".to_owned(),
        age => format!("log.{age}.jsonl"),
    }
}

/// The near end of the queue. The thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
    /// By service, those that the disk's end has not heard of.
    untold: Mutex<BTreeMap<String, u64>>,
}

enum Message {
    Line(Arc<LogLine>),
    Flush(Sender<()>),
}

impl Writer {
    pub(super) fn start(directory: PathBuf, bounds: LogBounds) -> io::Result<Self> {
        make_directory(&directory)?;
        let (queue, messages) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let disk = Disk {
            directory,
            bounds,
            counts: Arc::clone(&counts),
            files: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(256 * 1024);
        thread.spawn(move || disk.serve(&messages))?;
        Ok(Self { queue, counts })
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn write(&self, line: Arc<LogLine>) {
        let cost = line.text.len() + LINE_BYTES;
        let queued = self.counts.queued_bytes.fetch_add(cost, Ordering::Relaxed);
        if queued + cost > QUEUE_BYTES_MAX {
            self.counts.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
            self.counts.dropped_lines.fetch_add(1, Ordering::Relaxed);
            *self
                .counts
                .untold()
                .entry(line.service.clone())
                .or_default() += 1;
        } else {
            // The thread ends only after this end.
            let _ended = self.queue.send(Message::Line(line));
        }
    }

    pub(super) fn dropped_lines(&self) -> u64 {
        self.counts.dropped_lines.load(Ordering::Relaxed)
    }

    pub(super) fn flush(&self) {
        let (done, wait) = mpsc::channel();
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ended = wait.recv();
        }
    }
}

impl Counts {
    fn untold(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The far end: one open file for each service.
struct Disk {
    directory: PathBuf,
    bounds: LogBounds,
    counts: Arc<Counts>,
    files: BTreeMap<String, ServiceFile>,
}

#[derive(Default)]
struct ServiceFile {
    open: Option<(File, u64)>,
    /// Lines dropped since the last one written.
    dropped: u64,
}

impl Disk {
    fn serve(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    let cost = line.text.len() + LINE_BYTES;
                    self.write(&line);
                    self.counts.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
                }
                Message::Flush(done) => {
                    let _no_longer_waits = done.send(());
                }
            }
        }
    }

    /// Writes a line, after the count of those dropped before it.
    fn write(&mut self, line: &LogLine) {
        let file = self.files.entry(line.service.clone()).or_default();
        file.dropped += self.counts.untold().remove(&line.service).unwrap_or(0);
        let mut bytes = Vec::with_capacity(line.text.len() + LINE_BYTES);
        if file.dropped > 0 {
            let text = format!("{} lines were dropped", file.dropped);
            let time = line::now();
            put(
                &mut bytes,
                &LogLine {
                    text,
                    time,
                    dropped: file.dropped,
                    ..line.clone()
                },
            );
        }
        put(&mut bytes, line);
        let directory = self.directory.join(&line.service);
        match file.append(&directory, self.bounds, &bytes) {
            Ok(()) => file.dropped = 0,
            Err(error) => {
                // Said once for each time that writing begins to fail.
                if file.dropped == 0 {
                    tracing::warn!(service = line.service, %error, "log lines are dropped");
                }
                file.dropped += 1;
                self.counts.dropped_lines.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, line: &LogLine) {
    serde_json::to_writer(&mut *bytes, line).expect("a line is plain data, and memory takes it");
    bytes.push(b'\n');
}

impl ServiceFile {
    fn append(&mut self, directory: &Path, bounds: LogBounds, bytes: &[u8]) -> io::Result<()> {
        let added = bytes.len() as u64;
        if self
            .open
            .as_ref()
            .is_some_and(|(_, size)| size + added > bounds.file_bytes_max)
        {
            self.open = None;
            rotate(directory, bounds.files_max)?;
        }
        if self.open.is_none() {
            self.open = Some(open(directory)?);
        }
        let Some((file, size)) = &mut self.open else {
            return Ok(());
        };
        match file.write_all(bytes) {
            Ok(()) => {
                *size += added;
                Ok(())
            }
            Err(error) => {
                // No half line stays in front of the next one.
                let cut = file.set_len(*size);
                self.open = None;
                cut.and(Err(error))
            }
        }
    }
}

/// Opens the file being written, with its size.
fn open(directory: &Path) -> io::Result<(File, u64)> {
    make_directory(directory)?;
    let path = directory.join(file_name(0));
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    let mut size = file.metadata()?.len();
    if size > 0 && !ends_with_line_feed(&path, size)? {
        // A crash tore the last line: it stays alone.
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, size))
}

fn ends_with_line_feed(path: &Path, size: u64) -> io::Result<bool> {
    let mut last = [0];
    std::os::unix::fs::FileExt::read_exact_at(&File::open(path)?, &mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// Makes every file one older; the oldest goes.
fn rotate(directory: &Path, files_max: u32) -> io::Result<()> {
    for age in (0..files_max.max(2) - 1).rev() {
        let older = directory.join(file_name(age + 1));
        match fs::rename(directory.join(file_name(age)), older) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
