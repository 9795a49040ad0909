//! One direction of a TCP connection.
//!
//! Few bytes are copied through a buffer that is given back while nothing is in it. Once a read
//! fills it, more is spliced through a pipe of the kernel's without being copied, for as long
//! as more comes.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use crate::buffer::Fill;
use crate::flow::Flow;
use crate::tcp::pipe::Pipe;
use crate::thread::Thread;

/// A read of so many bytes says that more come after them.
const MANY_BYTES: usize = 16 * 1024;

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// The source has said goodbye, and the target was told.
    Ended,
    /// The source has reset the connection; all that came before is with the target.
    SourceGone,
    /// The target takes no more.
    TargetGone,
}

/// Whether the source's goodbye is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goodbye {
    Passed,
    Withheld,
}

/// Which end of a direction failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Source,
    Target,
}

/// What one turn brought.
enum Turn {
    Moved,
    Ended,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    thread: Rc<Thread>,
    stage: Stage,
    /// What is in it came after everything in the buffer.
    pipe: Option<Pipe>,
    carried: u64,
}

impl Way {
    /// A direction whose source has sent what is in the flow's input already.
    pub(super) fn new(thread: &Rc<Thread>, flow: &mut Flow) -> Self {
        let read = flow.input.len();
        flow.take_first(read);
        Self {
            thread: Rc::clone(thread),
            stage: Stage::Open,
            pipe: None,
            carried: (flow.out.len() + read) as u64,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Bytes that were taken from the source.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// True if the target was given everything that was taken.
    pub(super) fn is_delivered(&self, flow: &Flow) -> bool {
        flow.is_flushed() && self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Moves what can be moved.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        flow: &mut Flow,
        (ends, goodbye): ((&mut TcpStream, &mut TcpStream), Goodbye),
    ) {
        let (source, target) = ends;
        while self.stage == Stage::Open {
            let turn = self.turn(context, flow, (source, target));
            self.stage = match (turn, goodbye) {
                (Poll::Pending, _) => return,
                (Poll::Ready(Ok(Turn::Moved)), _) => Stage::Open,
                (Poll::Ready(Ok(Turn::Ended)), Goodbye::Withheld) => Stage::SourceGone,
                (Poll::Ready(Ok(Turn::Ended)), Goodbye::Passed) => {
                    match Pin::new(&mut *target).poll_shutdown(context) {
                        Poll::Ready(Ok(())) => Stage::Ended,
                        Poll::Ready(Err(_)) => Stage::TargetGone,
                        Poll::Pending => return,
                    }
                }
                (Poll::Ready(Err(Fault::Source)), _) => Stage::SourceGone,
                (Poll::Ready(Err(Fault::Target)), _) => Stage::TargetGone,
            };
        }
        // Nothing is carried any more: the memory is others'.
        self.pipe = None;
    }

    /// Writes what was taken, then takes more.
    fn turn(
        &mut self,
        context: &mut Context<'_>,
        flow: &mut Flow,
        (source, target): (&mut TcpStream, &mut TcpStream),
    ) -> Poll<Result<Turn, Fault>> {
        ready!(flow.poll_write(context, target)).map_err(|_| Fault::Target)?;
        if let Some(pipe) = &mut self.pipe {
            ready!(pipe.poll_empty(context, target)).map_err(|_| Fault::Target)?;
            match pipe.poll_fill(context, source) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Turn::Ended)),
                Poll::Ready(Ok(bytes)) => {
                    self.carried += bytes as u64;
                    return Poll::Ready(Ok(Turn::Moved));
                }
                Poll::Ready(Err(error)) if !is_refusal(&error) => {
                    return Poll::Ready(Err(Fault::Source));
                }
                Poll::Ready(Err(_)) => {
                    self.thread.pipes.refuse();
                    self.pipe = None;
                }
                // Silence: the pipe is for somebody who has something to say.
                Poll::Pending => self.pipe = None,
            }
        }
        self.copy(context, flow, source)
    }

    fn copy(
        &mut self,
        context: &mut Context<'_>,
        flow: &mut Flow,
        source: &mut TcpStream,
    ) -> Poll<Result<Turn, Fault>> {
        let filled = ready!(flow.input.poll_fill(context, source, &self.thread.blocks));
        match filled.map_err(|_| Fault::Source)? {
            Fill::End => return Poll::Ready(Ok(Turn::Ended)),
            Fill::Bytes | Fill::Full => {}
        }
        let bytes = flow.input.len();
        flow.take_first(bytes);
        self.carried += bytes as u64;
        if bytes >= MANY_BYTES {
            self.pipe = Pipe::take(&self.thread);
        }
        Poll::Ready(Ok(Turn::Moved))
    }
}

/// True if the kernel does not splice these sockets.
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
    let code = error.raw_os_error();
    refusals.iter().any(|no| code == Some(no.raw_os_error()))
}
