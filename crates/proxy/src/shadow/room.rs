//! How many copies there may be at a time, and the way to the thread that has them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::copy::Copied;

/// Bytes that copies and the answers to them may take, over all threads.
const BYTES_MAX: usize = 32 << 20;
/// The least that one is counted as, so that there are at most 128 of them.
const BYTES_MIN: usize = BYTES_MAX / 128;

/// What proxy threads know of the thread that asks shadows. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Shadows {
    taken: Arc<AtomicUsize>,
    /// Bounded by the room that each copy has taken.
    copied: UnboundedSender<Copied>,
}

impl Shadows {
    pub(crate) fn new() -> (Self, UnboundedReceiver<Copied>) {
        let (copied, received) = unbounded_channel();
        let shadows = Self {
            taken: Arc::default(),
            copied,
        };
        (shadows, received)
    }

    /// Room for a copy; `None`: there is none left.
    pub(crate) fn room(&self, bytes: usize) -> Option<Room> {
        let bytes = bytes.max(BYTES_MIN);
        let more = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= BYTES_MAX);
        self.taken.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Room {
            taken: Arc::clone(&self.taken),
            bytes,
        })
    }

    /// Hands a copy over. False: nobody is there any more.
    pub(crate) fn send(&self, copied: Copied) -> bool {
        self.copied.send(copied).is_ok()
    }
}

/// The room of one copy, until nothing is left of it.
#[derive(Debug)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_copies_and_again_once_they_are_gone() {
        let (shadows, _received) = Shadows::new();
        let mut all: Vec<Room> = std::iter::from_fn(|| shadows.room(1)).collect();
        assert_eq!(all.len(), 128);
        all.pop();
        assert!(shadows.room(BYTES_MIN + 1).is_none());
        assert!(shadows.room(BYTES_MIN).is_some());
        drop(all);
        assert!(shadows.room(BYTES_MAX).is_some());
        assert!(shadows.room(BYTES_MAX + 1).is_none());
    }
}
