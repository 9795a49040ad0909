//! The data plane as control sees it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::{Drain, ShadowKey};
use traffic::{Cell, ListenerKind, Table};
use verdict::Tally;

/// What control asks of the data plane. Calls return at once; what the threads have taken is
/// read from the ledger.
pub trait Publisher: Send {
    /// Accepts connections on these listening sockets of `address`, one for each proxy thread.
    fn bind(&mut self, address: SocketAddr, kind: ListenerKind, listeners: Vec<OwnedFd>);

    /// Stops accepting on `address`; what was accepted goes on.
    fn release(&mut self, address: SocketAddr);

    /// Hands a table to every proxy thread.
    fn publish(&mut self, table: Arc<Table>);

    /// Says when what is open at an endpoint is cut, so that what never ends by itself can be
    /// ended before, spread over time. What has less time than others is cut by whoever is told
    /// this; the rest by [`Publisher::cut`]. Said more than once.
    fn part(&mut self, cell: Cell, left: Drain);

    /// What comparing the answers to a shadow's copies has found in this process so far.
    fn compared(&mut self, key: ShadowKey) -> Option<Tally>;

    /// Ends every request and tunnel that is open at an endpoint.
    fn cut(&mut self, cell: Cell);
}
