//! The recent past of one release, in slices.

use std::collections::VecDeque;

use ledger::Histogram;
use model::Time;
use verdict::Sample;

use crate::counts::Counts;
use crate::source::Window;

/// How far back a slice is kept.
const KEPT_MS: u64 = 15 * 60 * 1_000;

/// Slices kept at most, however short they are.
const SLICES_MAX: usize = 4_096;

#[derive(Debug, Clone)]
struct Slice {
    window: Window,
    counts: Counts,
}

/// What a release did, oldest first; slices in which nothing happened are not kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    slices: VecDeque<Slice>,
}

impl Series {
    pub(crate) fn push(&mut self, window: Window, counts: Counts) {
        if !counts.is_empty() {
            self.slices.push_back(Slice { window, counts });
        }
        self.forget(window.to);
    }

    /// Drops what is too old.
    pub(crate) fn forget(&mut self, now: Time) {
        while let Some(first) = self.slices.front() {
            if first.window.to.0 + KEPT_MS >= now.0 && self.slices.len() <= SLICES_MAX {
                break;
            }
            self.slices.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The slices that lie within `window` as a whole.
    fn within(&self, window: Window) -> impl Iterator<Item = &Counts> {
        let inside =
            move |slice: &&Slice| window.from <= slice.window.from && slice.window.to <= window.to;
        self.slices.iter().filter(inside).map(|slice| &slice.counts)
    }

    pub(crate) fn sample(&self, window: Window) -> Sample {
        Counts::sample(self.within(window))
    }

    pub(crate) fn add_latency(&self, window: Window, histogram: &mut Histogram) {
        self.within(window)
            .for_each(|counts| counts.add_latency(histogram));
    }
}
