//! The read end of a child's output, and what is kept while nobody reads it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::handover::{Descriptors, HandoverError};
use crate::protocol::TakenHead;
use crate::wire::wire_struct;

/// How many bytes of one stream are kept while no worker reads it.
pub(crate) const RING_BYTES_MAX: usize = 64 * 1024;

/// Room in the kernel, so that a moment without a reader blocks no program.
const PIPE_BYTES: usize = 256 * 1024;

/// The most that is read at once, so that no flood holds up other work.
const READ_BYTES_MAX: usize = 256 * 1024;

/// How long a new stream is left to the worker that started its program: what is read here before
/// it takes it passes through a ring that is smaller than the pipe.
const FRESH: Duration = Duration::from_millis(250);

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    dropped_bytes: u64,
}

impl Ring {
    /// Appends, dropping the oldest bytes above the limit.
    pub(crate) fn push(&mut self, new: &[u8]) {
        let skipped = new.len().saturating_sub(RING_BYTES_MAX);
        let new = &new[skipped..];
        let over = (self.bytes.len() + new.len()).saturating_sub(RING_BYTES_MAX);
        self.bytes.drain(..over);
        self.bytes.extend(new);
        self.dropped_bytes += (skipped + over) as u64;
    }
}

/// A stream as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) pipe: Option<i32>,
    pub(crate) kept: Vec<u8>,
    pub(crate) dropped_bytes: u64,
    pub(crate) holder: Option<u64>,
}
wire_struct!(StreamState {
    pipe,
    kept,
    dropped_bytes,
    holder
});

impl StreamState {
    pub(crate) fn restore(&self, from: &mut Descriptors) -> Result<Stream, HandoverError> {
        let pipe = self.pipe.map(|number| from.take(number)).transpose()?;
        let ring = Ring {
            bytes: self.kept.iter().copied().collect(),
            dropped_bytes: self.dropped_bytes,
        };
        Ok(Stream {
            pipe,
            ring,
            holder: self.holder,
            fresh_until: None,
        })
    }
}

/// One stream of a child's output.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pipe: Option<OwnedFd>,
    ring: Ring,
    /// The worker that reads it, by generation.
    holder: Option<u64>,
    /// Until when it is left to the worker that started its program.
    fresh_until: Option<Instant>,
}

impl Stream {
    /// A new pipe: the stream, and the end that a program writes to.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        let _limit_of_the_user = rustix::pipe::fcntl_setpipe_size(&read, PIPE_BYTES);
        Ok((
            Self {
                pipe: Some(read),
                fresh_until: Some(Instant::now() + FRESH),
                ..Self::default()
            },
            write,
        ))
    }

    /// The pipe, if the supervisor is to read it.
    pub(crate) fn unread(&self) -> Option<BorrowedFd<'_>> {
        if self.fresh_until().is_some() {
            return None;
        }
        match self.holder {
            None => self.pipe.as_ref().map(AsFd::as_fd),
            Some(_) => None,
        }
    }

    /// Until when it is not to be read here, if it is not for that reason.
    pub(crate) fn fresh_until(&self) -> Option<Instant> {
        self.fresh_until.filter(|until| *until > Instant::now())
    }

    /// Moves what the pipe has into the ring; closes the pipe at its end.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while total < READ_BYTES_MAX
            && let Some(pipe) = &self.pipe
        {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.ring.push(&buffer[..count]);
                    total += count;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Hands the stream to a worker: what was kept, and the pipe if still open.
    pub(crate) fn take(&mut self, worker: u64) -> (TakenHead, Vec<u8>, Option<OwnedFd>) {
        self.fresh_until = None;
        let ring = std::mem::take(&mut self.ring);
        let pipe = self.pipe.as_ref().and_then(|pipe| pipe.try_clone().ok());
        if pipe.is_some() {
            self.holder = Some(worker);
        }
        let kept = Vec::from(ring.bytes);
        let head = TakenHead {
            open: pipe.is_some(),
            kept_bytes: u32::try_from(kept.len()).expect("a ring is far below 4 GiB"),
            dropped_bytes: ring.dropped_bytes,
        };
        (head, kept, pipe)
    }

    /// The stream as it is handed over.
    pub(crate) fn state(&self) -> StreamState {
        StreamState {
            pipe: self.pipe.as_ref().map(AsRawFd::as_raw_fd),
            kept: self.ring.bytes.iter().copied().collect(),
            dropped_bytes: self.ring.dropped_bytes,
            holder: self.holder,
        }
    }

    /// The worker is dead or gave control back: read for it again.
    pub(crate) fn returned_by(&mut self, worker: u64) {
        if self.holder == Some(worker) {
            self.holder = None;
        }
        self.fresh_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_newest_and_counts_the_rest() {
        let mut ring = Ring::default();
        ring.push(&[1; 10]);
        ring.push(&[2; RING_BYTES_MAX - 4]);
        assert_eq!((ring.bytes.len(), ring.dropped_bytes), (RING_BYTES_MAX, 6));
        assert_eq!(ring.bytes.iter().filter(|byte| **byte == 1).count(), 4);
        ring.push(&[3; RING_BYTES_MAX + 5]);
        assert_eq!(ring.dropped_bytes, 6 + RING_BYTES_MAX as u64 + 5);
        assert!(ring.bytes.iter().all(|byte| *byte == 3));
    }

    #[test]
    fn a_new_stream_is_left_to_its_worker_for_a_moment_only() {
        let (mut stream, _write) = Stream::new().unwrap();
        assert!(stream.unread().is_none());
        stream.fresh_until = Some(Instant::now());
        assert!(stream.unread().is_some());
        let (mut stream, _write) = Stream::new().unwrap();
        stream.returned_by(7);
        assert!(stream.unread().is_some(), "a worker died: nobody may come");
    }

    #[test]
    fn a_stream_passes_to_a_worker_and_back_without_losing_a_byte() {
        let (mut stream, write) = Stream::new().unwrap();
        rustix::io::write(&write, b"before").unwrap();
        stream.drain();
        let (head, kept, pipe) = stream.take(1);
        assert_eq!((head.open, kept.as_slice()), (true, b"before".as_slice()));
        assert!(stream.unread().is_none());
        rustix::io::write(&write, b"while").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::read(pipe.unwrap(), &mut buffer), Ok(5));
        stream.returned_by(2);
        assert!(stream.unread().is_none());
        stream.returned_by(1);
        rustix::io::write(&write, b"after").unwrap();
        drop(write);
        stream.drain();
        let (head, kept, pipe) = stream.take(2);
        assert_eq!(
            (head.open, kept.as_slice(), pipe.is_none()),
            (false, b"after".as_slice(), true)
        );
    }
}
