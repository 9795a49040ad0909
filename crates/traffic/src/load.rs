//! What endpoints have to do, and whether that is all they may be given.

use model::EndpointLimits;

use crate::table::Cell;

/// What is known of the endpoints' present load.
///
/// A function from a cell to the requests open there serves where there is one thread and
/// nobody counts connections.
pub trait Load {
    /// Requests that this thread has open at an endpoint: what balancing compares.
    fn open(&self, cell: Cell) -> u32;

    /// The same over all threads, but for the request that asks.
    fn open_everywhere(&self, cell: Cell) -> u32 {
        self.open(cell)
    }

    /// Connections to an endpoint over all threads, but for idle ones that the request could use.
    fn connections(&self, cell: Cell) -> u32 {
        let _ = cell;
        0
    }
}

impl<F: Fn(Cell) -> u32> Load for F {
    fn open(&self, cell: Cell) -> u32 {
        self(cell)
    }
}

/// True if an endpoint has all that it may be given.
pub(crate) fn is_full(limits: &EndpointLimits, load: &impl Load, cell: Cell) -> bool {
    let reached = |most: Option<u32>, now: &dyn Fn() -> u32| most.is_some_and(|most| now() >= most);
    reached(limits.requests_max, &|| load.open_everywhere(cell))
        || reached(limits.connections_max, &|| load.connections(cell))
}
