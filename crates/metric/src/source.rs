//! What every source can do.

use model::{ReleaseId, ServiceName, Time};
use verdict::Sample;

/// A span on the engine's clock, its end left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Time,
    /// Its end.
    pub to: Time,
}

/// Knows the figures of releases.
pub trait MetricSource {
    /// The source's name in messages: `built-in`.
    fn name(&self) -> &'static str;

    /// The figures of a release over as much of `window` as is known, and what is known of it;
    /// `None`: nothing is.
    fn sample(
        &self,
        service: &ServiceName,
        release: ReleaseId,
        window: Window,
    ) -> Option<(Sample, Window)>;
}
