//! What comparing has found, for control to fetch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::ShadowKey;
use verdict::{Found, Tally};

/// Shadows whose findings are kept, the newest.
const KEPT_MAX: usize = 16;

/// What comparing has found in this process, by shadow. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings(Arc<Mutex<BTreeMap<ShadowKey, Tally>>>);

impl Findings {
    /// What was found of a shadow.
    pub(crate) fn of(&self, key: ShadowKey) -> Option<Tally> {
        self.lock().get(&key).cloned()
    }

    /// Adds a request of a route.
    pub(crate) fn add(&self, key: ShadowKey, route: &str, found: Option<&Found>) {
        let mut all = self.lock();
        all.entry(key).or_default().add(route, found);
        while all.len() > KEPT_MAX {
            all.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ShadowKey, Tally>> {
        // Counts of a request that a panic added in part do no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
