//! The engine's clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds on the engine's clock.
///
/// Its zero means nothing. It never goes back, not even across a worker's death,
/// and the wall clock does not move it; whoever feeds the engine sees to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// The time `span` later; stays at the end of the clock rather than wrap.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
