//! Where figures come from: the [`MetricSource`] trait and the built-in source.
//!
//! A source answers for one release of one service over one window. What it does not know it
//! says so: no figures is never zero. A new source is one file here.

mod counts;
mod ledger;
mod series;
mod source;

pub use counts::Counts;
pub use ledger::{LedgerSource, Owner};
pub use source::{MetricSource, Window};
