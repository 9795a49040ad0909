//! What the endpoints of one service did since an account was opened, by release.

use std::collections::BTreeMap;

use ledger::CellTotals;
use model::{InstanceId, ReleaseId};
use serde::{Deserialize, Serialize};
use traffic::Cell;

use super::figures::Figures;

/// Counts on from what was written down: the ledger's totals only grow, so nothing that
/// happened while no worker looked is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    cells: BTreeMap<u32, Owned>,
    by_release: BTreeMap<ReleaseId, Figures>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owned {
    instance: InstanceId,
    seen: Figures,
}

impl Tally {
    /// Gives a cell with these totals to an instance; `false` when it has it already.
    ///
    /// Everything that the owner before did is counted first.
    pub(crate) fn own(&mut self, cell: Cell, instance: &InstanceId, now: &CellTotals) -> bool {
        let owner = self.cells.get(&cell.0);
        if owner.is_some_and(|owned| owned.instance == *instance) {
            return false;
        }
        self.look_at(cell, now);
        let owned = Owned {
            instance: instance.clone(),
            seen: Figures::of(now),
        };
        self.cells.insert(cell.0, owned);
        self.by_release.entry(instance.release).or_default();
        true
    }

    /// Stops counting a cell that another service gets.
    pub(crate) fn disown(&mut self, cell: Cell, now: &CellTotals) -> bool {
        self.look_at(cell, now);
        self.cells.remove(&cell.0).is_some()
    }

    /// Counts what came since the last look.
    pub(crate) fn look(&mut self, read: impl Fn(Cell) -> CellTotals) {
        let cells: Vec<u32> = self.cells.keys().copied().collect();
        for cell in cells {
            self.look_at(Cell(cell), &read(Cell(cell)));
        }
    }

    fn look_at(&mut self, cell: Cell, now: &CellTotals) {
        if let Some(owned) = self.cells.get_mut(&cell.0) {
            let fresh = fresh_since(now, &owned.seen.totals());
            owned.seen = Figures::of(now);
            let release = owned.instance.release;
            self.by_release.entry(release).or_default().add(&fresh);
        }
    }

    /// The cells that are looked at.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.cells.keys().copied().map(Cell)
    }

    pub(crate) fn by_release(&self) -> &BTreeMap<ReleaseId, Figures> {
        &self.by_release
    }
}

/// What came since `seen`. Totals only grow, so smaller ones are those of a new server's ledger.
fn fresh_since(now: &CellTotals, seen: &CellTotals) -> CellTotals {
    if now.ended() < seen.ended() {
        return now.clone();
    }
    now.since(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ServiceName;
    use traffic::Outcome;

    fn instance(release: u32, serial: u32) -> InstanceId {
        InstanceId {
            service: ServiceName::try_new("web").unwrap(),
            release: ReleaseId(release),
            serial,
        }
    }

    fn totals(fine: u64) -> CellTotals {
        let mut totals = CellTotals::default();
        totals.outcomes[0][Outcome::Status2xx.index()] = fine;
        totals
    }

    fn fine(tally: &Tally, release: u32) -> u64 {
        let figures = tally.by_release().get(&ReleaseId(release));
        figures.map_or(0, |figures| figures.totals().ended())
    }

    #[test]
    fn what_came_before_is_not_counted() {
        let mut tally = Tally::default();
        assert!(tally.own(Cell(4), &instance(1, 1), &totals(1_000)));
        assert!(!tally.own(Cell(4), &instance(1, 1), &totals(1_005)));
        tally.look(|_| totals(1_007));
        assert_eq!(fine(&tally, 1), 7);
    }

    #[test]
    fn a_new_worker_counts_on_without_a_gap() {
        let mut tally = Tally::default();
        tally.own(Cell(4), &instance(1, 1), &totals(10));
        tally.look(|_| totals(15));
        let written = serde_json::to_string(&tally).unwrap();
        tally.look(|_| totals(18));
        let mut recovered: Tally = serde_json::from_str(&written).unwrap();
        recovered.look(|_| totals(30));
        assert_eq!(fine(&recovered, 1), 20);
    }

    #[test]
    fn a_new_ledger_begins_at_nothing() {
        let mut tally = Tally::default();
        let mut before = totals(10);
        before.latency.record(500);
        tally.own(Cell(4), &instance(1, 1), &before);
        tally.look(|_| totals(2));
        assert_eq!(fine(&tally, 1), 2);
        assert_eq!(tally.by_release()[&ReleaseId(1)].histogram().count(), 0);
    }

    #[test]
    fn each_owner_of_a_cell_has_its_own() {
        let mut tally = Tally::default();
        tally.own(Cell(0), &instance(1, 1), &totals(0));
        tally.own(Cell(0), &instance(2, 2), &totals(5));
        tally.look(|_| totals(9));
        tally.disown(Cell(0), &totals(10));
        tally.look(|_| totals(99));
        assert_eq!((fine(&tally, 1), fine(&tally, 2)), (5, 5));
    }
}
