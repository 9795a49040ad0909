//! Connections to endpoints, counted over all threads where a service bounds them.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use ledger::CELLS;
use tokio::net::TcpStream;
use traffic::Cell;

use crate::queue::Heads;
use crate::thread::Thread;

/// How many connections there are to each endpoint of those services that bound them.
#[derive(Debug)]
pub(crate) struct Links(Box<[AtomicU32]>);

impl Default for Links {
    fn default() -> Self {
        Self((0..CELLS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Links {
    fn counter(&self, cell: Cell) -> &AtomicU32 {
        &self.0[cell.0 as usize % CELLS]
    }

    /// How many connections there are to an endpoint.
    pub(crate) fn count(&self, cell: Cell) -> u32 {
        self.counter(cell).load(Relaxed)
    }
}

/// A connection's place among those to its endpoint, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    links: Arc<Links>,
    heads: Arc<Heads>,
    cell: Cell,
    pub(crate) service: Cell,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.links.counter(self.cell).fetch_sub(1, Relaxed);
        self.heads.tell(self.service, None);
    }
}

/// A connection to an endpoint: a bare socket, or what was made of it.
#[derive(Debug)]
pub(crate) struct Link<W = TcpStream> {
    pub(crate) stream: W,
    /// Given back after the connection is closed.
    pub(crate) seat: Option<Seat>,
}

impl Thread {
    /// A place for a new connection to an endpoint of `service`, which has at most `most`.
    /// `None`: there is none.
    pub(crate) fn seat(&self, (service, cell): (Cell, Cell), most: u32) -> Option<Seat> {
        loop {
            if self.links.counter(cell).fetch_add(1, Relaxed) < most {
                return Some(Seat {
                    links: Arc::clone(&self.links),
                    heads: Arc::clone(self.queues.heads()),
                    cell,
                    service,
                });
            }
            self.links.counter(cell).fetch_sub(1, Relaxed);
            // An idle one of our own that the request may not use makes way.
            if !self.pool.close_one(cell) {
                return None;
            }
        }
    }
}
