//! A published table with what is worked out from it once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use model::{PAUSE_MAX, Revision};
use traffic::{Cell, Index, ListenerKind, ServiceTable, Table};

use crate::clock::{micros, now_micros};

/// A table, its index and its endpoints' cells.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    pub(crate) table: Arc<Table>,
    pub(crate) index: Index,
    kinds: BTreeMap<SocketAddr, ListenerKind>,
    https_port: Option<u16>,
    /// In order.
    cells: Vec<Cell>,
    /// When it came.
    made_micros: u64,
}

impl Routing {
    pub(crate) fn new(table: &Arc<Table>) -> Self {
        let releases = table.services.iter().flat_map(ServiceTable::sides);
        let endpoints = releases.flat_map(|release| &release.endpoints);
        let mut cells: Vec<Cell> = endpoints.map(|endpoint| endpoint.cell).collect();
        cells.sort_unstable();
        let kinds = table.listeners.iter();
        let kinds = kinds.map(|listener| (listener.address, listener.kind));
        let kinds: BTreeMap<_, _> = kinds.collect();
        let https = kinds.iter().find(|(_, kind)| **kind == ListenerKind::Https);
        Self {
            https_port: https.map(|(address, _)| address.port()),
            kinds,
            index: Index::new(table),
            table: Arc::clone(table),
            cells,
            made_micros: now_micros(),
        }
    }

    /// What a listener is for; `None` if the table has none there.
    pub(crate) fn kind(&self, address: SocketAddr) -> Option<ListenerKind> {
        self.kinds.get(&address).copied()
    }

    /// The port of the first HTTPS listener.
    pub(crate) fn https_port(&self) -> Option<u16> {
        self.https_port
    }

    pub(crate) fn revision(&self) -> Revision {
        self.table.revision
    }

    /// Until when new requests of a service are held, if any pause holds them at `now_micros`.
    /// However its end was written, it lies at most [`PAUSE_MAX`] after the table came.
    pub(crate) fn held_until(&self, service: &ServiceTable, now_micros: u64) -> Option<u64> {
        let most = self.made_micros.saturating_add(micros(PAUSE_MAX));
        let until = service.paused.as_ref()?.until_micros.min(most);
        (until > now_micros).then_some(until)
    }

    /// True if an endpoint may get new requests.
    pub(crate) fn has(&self, cell: Cell) -> bool {
        self.cells.binary_search(&cell).is_ok()
    }
}
