//! A published table with what is worked out from it once.

use std::sync::Arc;

use model::Revision;
use traffic::{Cell, Index, Table};

/// A table, its index and its endpoints' cells.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    pub(crate) table: Arc<Table>,
    pub(crate) index: Index,
    /// In order.
    cells: Vec<Cell>,
}

impl Routing {
    pub(crate) fn new(table: &Arc<Table>) -> Self {
        let releases = table
            .services
            .iter()
            .flat_map(|service| std::iter::once(&service.stable).chain(&service.candidate));
        let endpoints = releases.flat_map(|release| &release.endpoints);
        let mut cells: Vec<Cell> = endpoints.map(|endpoint| endpoint.cell).collect();
        cells.sort_unstable();
        Self {
            index: Index::new(table),
            table: Arc::clone(table),
            cells,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.table.revision
    }

    /// True if an endpoint may get new requests.
    pub(crate) fn has(&self, cell: Cell) -> bool {
        self.cells.binary_search(&cell).is_ok()
    }
}
