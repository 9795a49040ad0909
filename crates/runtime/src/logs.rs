//! What instances print: read at once, kept on disk within bounds, never in their way.
//!
//! One task per stream reads as fast as the program writes. Lines go to a
//! thread that writes them to `DIRECTORY/SERVICE/`, through a bounded queue;
//! what does not fit, or finds the disk full, is dropped and counted. The
//! last lines of each instance stay in memory as evidence.

mod line;
mod read;
mod split;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::driver::{LogPipes, LogStream};

pub use line::{LogLine, Stream};
pub use read::History;
pub use split::RECORD_BYTES_MAX;
pub use write::LogBounds;

use line::Stamp;
use split::Splitter;
use write::Writer;

/// Lines of one instance that stay in memory.
pub const TAIL_LINES_MAX: usize = 100;

/// Bytes of one instance's lines that stay in memory.
const TAIL_BYTES_MAX: usize = 256 * 1024;

/// Lines that a follower may be behind before it misses some.
const FOLLOW_LINES_MAX: usize = 256;

/// Read from a pipe at once.
const READ_BYTES: usize = 64 * 1024;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The service: also the name of a directory.
    pub service: String,
    /// The release, such as `v3`.
    pub release: String,
    /// The instance.
    pub instance: String,
}

/// All logs of one server. Clones share everything.
#[derive(Debug, Clone)]
pub struct Logs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    writer: Writer,
    tails: Mutex<BTreeMap<String, VecDeque<Arc<LogLine>>>>,
    followers: broadcast::Sender<Arc<LogLine>>,
    /// Whether nothing more is to be read; each reader holds a receiver.
    closed: watch::Sender<bool>,
}

/// The reading of one instance's output.
#[derive(Debug)]
pub struct LogTask {
    streams: [JoinHandle<()>; 2],
}

impl LogTask {
    /// Waits until both streams have ended and their lines are in the tail.
    ///
    /// A daemon that an instance leaves behind may hold them open: bound this.
    pub async fn ended(self) {
        for stream in self.streams {
            // A task that was cancelled reads no more either.
            let _cancelled = stream.await;
        }
    }
}

impl Logs {
    /// Keeps logs below `directory`.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or the writing thread not started.
    pub fn open(directory: PathBuf, bounds: LogBounds) -> io::Result<Self> {
        let writer = Writer::start(directory.clone(), bounds)?;
        let shared = Shared {
            directory,
            writer,
            tails: Mutex::new(BTreeMap::new()),
            followers: broadcast::Sender::new(FOLLOW_LINES_MAX),
            closed: watch::Sender::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Reads an instance's output from now on until it ends.
    ///
    /// Must be called within a tokio runtime.
    pub fn attach(&self, source: &LogSource, pipes: LogPipes) -> LogTask {
        let start = |stream: Stream, pipe: LogStream| {
            let stamp = Stamp {
                source: source.clone(),
                stream,
            };
            tokio::spawn(read_stream(self.clone(), stamp, pipe))
        };
        LogTask {
            streams: [
                start(Stream::Stdout, pipes.stdout),
                start(Stream::Stderr, pipes.stderr),
            ],
        }
    }

    /// The last lines of an instance, oldest first.
    #[must_use]
    pub fn tail(&self, instance: &str) -> Vec<Arc<LogLine>> {
        let tails = self
            .shared
            .tails
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tails.get(instance).into_iter().flatten().cloned().collect()
    }

    /// Forgets the lines of an instance that are in memory.
    pub fn forget(&self, instance: &str) {
        let mut tails = self
            .shared
            .tails
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tails.remove(instance);
    }

    /// All lines of all services from now on; a slow receiver misses some and is told how many.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.shared.followers.subscribe()
    }

    /// The lines of a service that are on disk, oldest first. Blocks while reading.
    #[must_use]
    pub fn history(&self, service: &str) -> History {
        History::open(&self.shared.directory, service)
    }

    /// How many lines could not be written to disk since this server began.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.shared.writer.dropped_lines()
    }

    /// Stops reading, and returns once every pipe is let go: another worker reads on from there.
    pub async fn close(&self) {
        self.shared.closed.send_replace(true);
        self.shared.closed.closed().await;
    }

    /// Waits until all lines so far are on disk or dropped. Blocks.
    pub fn flush(&self) {
        self.shared.writer.flush();
    }

    fn publish(&self, line: LogLine) {
        let line = Arc::new(line);
        {
            let mut tails = self
                .shared
                .tails
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let tail = tails.entry(line.instance.clone()).or_default();
            tail.push_back(Arc::clone(&line));
            let mut bytes: usize = tail.iter().map(|line| line.text.len()).sum();
            while tail.len() > TAIL_LINES_MAX || bytes > TAIL_BYTES_MAX {
                bytes -= tail.pop_front().map_or(0, |line| line.text.len());
            }
        }
        // That nobody follows is no failure.
        let _nobody = self.shared.followers.send(Arc::clone(&line));
        self.shared.writer.write(line);
    }
}

async fn read_stream(logs: Logs, stamp: Stamp, stream: LogStream) {
    let mut splitter = Splitter::default();
    if stream.dropped_bytes > 0 {
        let text = format!(
            "{} bytes were dropped while no worker read them",
            stream.dropped_bytes
        );
        logs.publish(LogLine {
            dropped_bytes: stream.dropped_bytes,
            ..stamp.now(text)
        });
    }
    splitter.push(&stream.kept, &mut |record| logs.publish(stamp.line(record)));
    if let Some(mut pipe) = stream.pipe {
        let mut buffer = vec![0; READ_BYTES];
        let mut closed = logs.shared.closed.subscribe();
        loop {
            let count = tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => break,
                read = tokio::io::AsyncReadExt::read(&mut pipe, &mut buffer) => match read {
                    Ok(count @ 1..) => count,
                    Ok(0) | Err(_) => break,
                },
            };
            splitter.push(&buffer[..count], &mut |record| {
                logs.publish(stamp.line(record))
            });
            // A flood in one stream leaves room for everything else.
            tokio::task::yield_now().await;
        }
    }
    splitter.finish(&mut |record| logs.publish(stamp.line(record)));
}

#[cfg(test)]
mod tests;
