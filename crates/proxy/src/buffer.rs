//! Read buffers that are given back while there is nothing in them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use crate::stream::Stream;

const BLOCK_BYTES: usize = 16 * 1024;
/// Room for the longest head and what came with it.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const FREE_BLOCKS_MAX: usize = 256;

/// Blocks that no buffer has at the moment.
#[derive(Debug, Default)]
pub(crate) struct Blocks(RefCell<Vec<Box<[u8]>>>);

impl Blocks {
    fn take(&self) -> Box<[u8]> {
        let free = self.0.borrow_mut().pop();
        free.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice())
    }

    fn give_back(&self, block: Box<[u8]>) {
        let mut free = self.0.borrow_mut();
        if block.len() == BLOCK_BYTES && free.len() < FREE_BLOCKS_MAX {
            free.push(block);
        }
    }

    /// Frees half of them.
    pub(crate) fn shrink(&self) {
        let mut free = self.0.borrow_mut();
        let half = free.len() / 2;
        free.truncate(half);
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// More bytes.
    Bytes,
    /// The other side will send no more.
    End,
    /// Nothing, since the buffer is full.
    Full,
}

/// Bytes read and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Buffer {
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            block: bytes.into(),
            begin: 0,
            end: bytes.len(),
        }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.block[self.begin..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.begin
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        assert!(self.begin <= self.end, "no more is used than was read");
        if self.is_empty() {
            (self.begin, self.end) = (0, 0);
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.begin, self.end) = (0, 0);
    }

    /// Reads what is there. While nothing is, an empty buffer holds no memory.
    pub(crate) fn poll_fill<S: Stream>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        blocks: &Blocks,
    ) -> Poll<io::Result<Fill>> {
        if self.is_empty() && stream.poll_read_ready(context)?.is_pending() {
            self.give_back(blocks);
            return Poll::Pending;
        }
        if !self.make_room(blocks) {
            return Poll::Ready(Ok(Fill::Full));
        }
        let mut room = ReadBuf::new(&mut self.block[self.end..]);
        let read = match Pin::new(stream).poll_read(context, &mut room)? {
            Poll::Ready(()) => room.filled().len(),
            Poll::Pending => {
                self.give_back(blocks);
                return Poll::Pending;
            }
        };
        self.end += read;
        let fill = if read == 0 { Fill::End } else { Fill::Bytes };
        Poll::Ready(Ok(fill))
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn give_back(&mut self, blocks: &Blocks) {
        if self.is_empty() && !self.block.is_empty() {
            blocks.give_back(std::mem::take(&mut self.block));
        }
    }

    /// Makes room for a read; false if the buffer is full.
    fn make_room(&mut self, blocks: &Blocks) -> bool {
        if self.block.is_empty() {
            self.block = blocks.take();
        }
        if self.end < self.block.len() {
            return true;
        }
        if self.begin > 0 {
            self.block.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            return true;
        }
        if self.block.len() >= BUFFER_BYTES_MAX {
            return false;
        }
        let mut larger = vec![0; self.block.len() * 2].into_boxed_slice();
        larger[..self.end].copy_from_slice(&self.block);
        blocks.give_back(std::mem::replace(&mut self.block, larger));
        true
    }
}
