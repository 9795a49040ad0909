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
    pub(crate) index: Arc<Index>,
    kinds: BTreeMap<SocketAddr, ListenerKind>,
    https_port: Option<u16>,
    /// In order.
    cells: Vec<Cell>,
    /// When it came.
    made_micros: u64,
}

/// A table's index. Most tables differ from those before them in their endpoints alone, and an
/// index knows nothing of these.
fn index(table: &Table, before: Option<&Routing>) -> Arc<Index> {
    let leads_alike = |before: &&Routing| {
        let (own, theirs) = (&table.listeners, &before.table.listeners);
        table.services.len() == before.table.services.len() && own == theirs
    };
    match before.filter(leads_alike) {
        Some(before) => Arc::clone(&before.index),
        None => Arc::new(Index::new(table)),
    }
}

impl Routing {
    /// What is worked out from a table that follows `before`.
    pub(crate) fn new(table: &Arc<Table>, before: Option<&Self>) -> Self {
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
            index: index(table, before),
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

#[cfg(test)]
mod tests {
    use model::ServiceName;
    use traffic::{Candidate, HostPattern, Listener, Route};

    use super::*;

    fn table(path: &str, cells: &[u32]) -> Arc<Table> {
        let service = |cell: &u32| {
            let name = ServiceName::try_new("web").unwrap();
            let stable = Candidate {
                release: model::ReleaseId(1),
                endpoints: Vec::new(),
                tls: None,
            };
            ServiceTable::serving(name, Cell(*cell), stable)
        };
        let route = Route {
            host: HostPattern::Any,
            path: path.to_owned(),
            service: 0,
            only: None,
        };
        let listener = Listener {
            kind: ListenerKind::Http,
            address: SocketAddr::from(([127, 0, 0, 1], 80)),
            proxy_protocol: false,
            routes: vec![route],
        };
        Arc::new(Table {
            listeners: vec![listener],
            services: cells.iter().map(service).collect(),
            ..Table::default()
        })
    }

    #[test]
    fn an_index_is_kept_as_long_as_its_routes_are() {
        let first = Routing::new(&table("/a", &[1]), None);
        let next = |table: &Arc<Table>| Routing::new(table, Some(&first)).index;
        assert!(Arc::ptr_eq(&first.index, &next(&table("/a", &[2]))));
        for other in [table("/b", &[1]), table("/a", &[1, 2])] {
            let index = next(&other);
            assert!(!Arc::ptr_eq(&first.index, &index));
            let path = other.listeners[0].routes[0].path.as_bytes();
            let found = index.route(other.listeners[0].address, b"h", path);
            assert!(found.is_some());
        }
    }
}
