//! Pipes of the kernel's, through which bytes go from socket to socket without being copied.
//!
//! A connection has one only while many bytes come, so a thread needs few of them. What cannot
//! have one is copied instead.

use std::cell::{Cell as Local, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::thread::Thread;

/// Pipes of one thread.
const PIPES_MAX: u32 = 32;
/// What one takes at a time: as much as the kernel lets it hold.
const PIPE_BYTES: usize = 64 * 1024;

/// A pipe's two ends: where it is read, and where it is written.
type Ends = (OwnedFd, OwnedFd);

/// The pipes of a thread.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Ends>>,
    /// All there are, in use or free.
    count: Local<u32>,
    /// Set once the kernel has refused to splice.
    is_refused: Local<bool>,
}

impl Pipes {
    /// Descriptors that they take.
    pub(crate) fn files(&self) -> u32 {
        2 * self.count.get()
    }

    /// Closes those that nobody uses.
    pub(crate) fn shrink(&self) {
        let free = self.free.take();
        self.count.set(self.count.get() - free.len() as u32);
    }

    /// Has everything copied from here on.
    pub(super) fn refuse(&self) {
        if !self.is_refused.replace(true) {
            tracing::info!("the kernel does not splice sockets: bytes of TCP services are copied");
        }
    }

    fn take(&self) -> Option<Ends> {
        if self.is_refused.get() {
            return None;
        }
        let free = self.free.borrow_mut().pop();
        free.or_else(|| {
            let may_make = self.count.get() < PIPES_MAX;
            let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
            // Where there is no descriptor left, bytes are copied.
            let made = may_make.then(|| pipe_with(flags).ok())??;
            self.count.set(self.count.get() + 1);
            Some(made)
        })
    }
}

/// A pipe in use, given back when dropped.
#[derive(Debug)]
pub(super) struct Pipe {
    thread: Rc<Thread>,
    ends: Option<Ends>,
    /// How much is in it.
    bytes: usize,
}

impl Pipe {
    /// `None`: there is none to be had.
    pub(super) fn take(thread: &Rc<Thread>) -> Option<Self> {
        thread.pipes.take().map(|ends| Self {
            thread: Rc::clone(thread),
            ends: Some(ends),
            bytes: 0,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn ends(&self) -> &Ends {
        self.ends
            .as_ref()
            .expect("a pipe has its ends until it is dropped")
    }

    /// Fills the empty pipe from a socket. 0: the other side will send no more.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        assert!(self.is_empty(), "what says that it is full is the socket");
        loop {
            ready!(source.poll_read_ready(context))?;
            let spliced = source.try_io(Interest::READABLE, || {
                let (_, write) = self.ends();
                Ok(splice(source, None, write, None, PIPE_BYTES, flags())?)
            });
            match spliced {
                Ok(bytes) => {
                    self.bytes = bytes;
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Empties the pipe into a socket.
    pub(super) fn poll_empty(
        &mut self,
        context: &mut Context<'_>,
        target: &TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(target.poll_write_ready(context))?;
            let spliced = target.try_io(Interest::WRITABLE, || {
                let (read, _) = self.ends();
                Ok(splice(read, None, target, None, self.bytes, flags())?)
            });
            match spliced {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => self.bytes -= bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let pipes = &self.thread.pipes;
        match self.ends.take() {
            Some(ends) if self.bytes == 0 => pipes.free.borrow_mut().push(ends),
            // Nobody else may get what is left in it.
            Some(_) | None => pipes.count.set(pipes.count.get() - 1),
        }
    }
}
