//! Counters in shared memory that outlive a killed worker.
//!
//! The supervisor holds one memory file of [`SIZE`] bytes; every worker maps it. Each proxy
//! thread writes to a slot of its own, with plain loads and stores: one writer per counter,
//! so the hot path needs no locked instruction. Whoever holds control reads all slots.
//!
//! Totals never go down: a slot keeps its totals when its thread ends and the next thread
//! goes on from them. Gauges (open, waiting, reading) of a thread that was killed are turned
//! into [`traffic::Outcome::Killed`] by [`Ledger::fold_dead`].
//!
//! Memory that is never touched costs nothing, so the file may be far larger than its use.

mod fold;
mod gap;
mod latency;
mod layout;
mod mapping;
mod reader;
mod totals;
mod writer;

pub use fold::Dead;
pub use gap::GAP_SECONDS;
pub use latency::{BUCKETS, Histogram};
pub use layout::{CELLS, SERVICES, SHADOW_SLOTS, SLOTS};
pub use mapping::{MapError, SIZE};
pub use reader::{Ledger, Overdue};
pub use totals::{CellTotals, ServiceTotals, SlotTotals};
pub use writer::{Writer, WriterError};
