//! Counts the frames that a client or a program sends, and notices a flood of such as cost us
//! more than it.

use std::cell::{Cell as Local, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use traffic::Closed;

use super::PREFACE;
use crate::watch::Watches;

const HEADER_BYTES: usize = 9;
/// Frames that a head may be split into, and the bytes that it may take.
const HEAD_FRAMES_MAX: u32 = 16;
const HEAD_BYTES_MAX: u32 = 128 * 1024;

/// How many frames of a kind are taken: so many at once, and so many more each second.
struct Allowance {
    burst: u64,
    each_second: u64,
    closed: Closed,
}

const RESETS: usize = 0;
const PINGS: usize = 1;
const SETTINGS: usize = 2;
const EMPTY: usize = 3;
const WINDOWS: usize = 4;

const KINDS: usize = 5;

const fn allowance(burst: u64, each_second: u64, closed: Closed) -> Allowance {
    Allowance {
        burst,
        each_second,
        closed,
    }
}

/// What a client may send.
const OF_CLIENTS: [Allowance; KINDS] = [
    allowance(100, 20, Closed::FloodResets),
    allowance(100, 10, Closed::FloodPings),
    allowance(50, 2, Closed::FloodSettings),
    allowance(100, 10, Closed::FloodEmpty),
    // Also priorities, and frames that nobody knows.
    allowance(4_000, 1_000, Closed::FloodWindows),
];

/// What a program may send: more, since some measure the way to us with a ping for whatever they
/// get, and it is no stranger. A stream that it resets is one that we began.
const OF_PROGRAMS: [Allowance; KINDS] = [
    allowance(u64::MAX, 0, Closed::FloodResets),
    allowance(10_000, 1_000, Closed::FloodPings),
    allowance(1_000, 100, Closed::FloodSettings),
    allowance(10_000, 1_000, Closed::FloodEmpty),
    allowance(40_000, 10_000, Closed::FloodWindows),
];

/// Who sends the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A client, which begins with a preface.
    Client,
    /// A program.
    Program,
}

impl Sender {
    fn allowances(self) -> &'static [Allowance; KINDS] {
        match self {
            Self::Client => &OF_CLIENTS,
            Self::Program => &OF_PROGRAMS,
        }
    }

    /// What it may send once more for so many bytes written to it.
    fn earns(self) -> (usize, &'static [usize]) {
        match self {
            Self::Client => (1_024, &[WINDOWS]),
            // The answer to a ping must not pay for the next one.
            Self::Program => (64, &[WINDOWS, PINGS]),
        }
    }
}

/// What a connection may still send.
#[derive(Debug)]
pub(super) struct Meter {
    sender: Sender,
    left: [Local<u64>; KINDS],
    /// Until when the allowances were refilled.
    filled_micros: Local<u64>,
    written: Local<usize>,
    flood: Local<Option<Closed>>,
    scan: RefCell<Scan>,
}

/// How far the frames were looked at.
#[derive(Debug)]
struct Scan {
    preface_left: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    payload_left: usize,
    head_frames: u32,
    head_bytes: u32,
}

/// What a frame is, as far as floods are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Costs(usize),
    Head(u32),
    Free,
}

impl Meter {
    pub(super) fn new(sender: Sender, now_micros: u64) -> Self {
        Self {
            sender,
            left: std::array::from_fn(|kind| Local::new(sender.allowances()[kind].burst)),
            filled_micros: Local::new(now_micros),
            written: Local::new(0),
            flood: Local::new(None),
            scan: RefCell::new(Scan {
                preface_left: match sender {
                    Sender::Client => PREFACE.len(),
                    Sender::Program => 0,
                },
                header: [0; HEADER_BYTES],
                header_filled: 0,
                payload_left: 0,
                head_frames: 0,
                head_bytes: 0,
            }),
        }
    }

    /// What we are flooded with, if we are.
    pub(super) fn flood(&self) -> Option<Closed> {
        self.flood.get()
    }

    /// A stream got its whole response: a reset more is forgiven.
    pub(super) fn refund(&self) {
        self.add(RESETS, 1);
    }

    fn add(&self, kind: usize, count: u64) {
        let left = self.left[kind].get().saturating_add(count);
        self.left[kind].set(left.min(self.sender.allowances()[kind].burst));
    }

    fn refill(&self, now_micros: u64) {
        let seconds = now_micros.saturating_sub(self.filled_micros.get()) / 1_000_000;
        if seconds > 0 {
            self.filled_micros.set(now_micros);
            for (kind, allowance) in self.sender.allowances().iter().enumerate() {
                self.add(kind, allowance.each_second.saturating_mul(seconds));
            }
        }
    }

    fn note_written(&self, bytes: usize) {
        let written = self.written.get() + bytes;
        let (price, kinds) = self.sender.earns();
        for kind in kinds {
            self.add(*kind, (written / price) as u64);
        }
        self.written.set(written % price);
    }

    fn note_read(&self, bytes: &[u8]) {
        self.scan.borrow_mut().read(bytes, |frame| {
            let flood = match frame {
                Frame::Free => return,
                Frame::Head(frames) if frames <= HEAD_FRAMES_MAX => return,
                Frame::Head(_) => Closed::FloodContinuation,
                Frame::Costs(kind) => match self.left[kind].get().checked_sub(1) {
                    Some(left) => return self.left[kind].set(left),
                    None => self.sender.allowances()[kind].closed,
                },
            };
            self.flood.set(Some(flood));
        });
    }
}

impl Scan {
    fn read(&mut self, mut bytes: &[u8], mut note: impl FnMut(Frame)) {
        let skipped = bytes.len().min(self.preface_left);
        self.preface_left -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = bytes.len().min(self.payload_left);
                self.payload_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = (HEADER_BYTES - self.header_filled).min(bytes.len());
            let end = self.header_filled + wanted;
            self.header[self.header_filled..end].copy_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            self.header_filled = end;
            if end == HEADER_BYTES {
                self.header_filled = 0;
                let frame = self.frame();
                note(frame);
            }
        }
    }

    /// Judges the frame whose header is there.
    fn frame(&mut self) -> Frame {
        const END_STREAM: u8 = 1;
        const ACK: u8 = 1;
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.payload_left = length as usize;
        match kind {
            0 if length == 0 && flags & END_STREAM == 0 => Frame::Costs(EMPTY),
            0 => Frame::Free,
            1 => {
                (self.head_frames, self.head_bytes) = (0, 0);
                self.head_frame(length)
            }
            9 => self.head_frame(length),
            3 => Frame::Costs(RESETS),
            4 | 6 if flags & ACK != 0 => Frame::Free,
            4 => Frame::Costs(SETTINGS),
            6 => Frame::Costs(PINGS),
            _ => Frame::Costs(WINDOWS),
        }
    }

    fn head_frame(&mut self, length: u32) -> Frame {
        self.head_frames += 1;
        self.head_bytes = self.head_bytes.saturating_add(length);
        if self.head_bytes > HEAD_BYTES_MAX {
            self.head_frames = HEAD_FRAMES_MAX + 1;
        }
        Frame::Head(self.head_frames)
    }
}

/// Bytes on their way through the meter.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    /// What was read before, and how much of it was given out.
    read: Vec<u8>,
    given: usize,
    meter: Rc<Meter>,
    watches: Rc<Watches>,
}

impl<S> Metered<S> {
    pub(super) fn new(
        stream: S,
        read: Vec<u8>,
        (meter, watches): (Rc<Meter>, Rc<Watches>),
    ) -> Self {
        Self {
            stream,
            read,
            given: 0,
            meter,
            watches,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.flood().is_some() {
            // Nothing of it is looked at any more.
            return Poll::Pending;
        }
        let before = room.filled().len();
        let left = self.read.len() - self.given;
        if left > 0 {
            let count = left.min(room.remaining());
            room.put_slice(&self.read[self.given..self.given + count]);
            self.given += count;
        } else {
            std::task::ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        }
        self.meter.refill(self.watches.coarse_micros());
        self.meter.note_read(&room.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.meter.note_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        let written = match (filled.next(), filled.next()) {
            // What one call takes without a list costs less so.
            (Some(only), None) => Pin::new(&mut self.stream).poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, parts),
        };
        let written = std::task::ready!(written)?;
        self.meter.note_written(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
