//! What came of a rollout's shadows: copies by release, and what comparing has found.

use std::collections::BTreeMap;

use model::{ShadowAccount, ShadowKey};
use serde::{Deserialize, Serialize};
use traffic::Dropped;
use verdict::Figures;

use super::Account;
use super::receipt::by_release_of;
use super::tally::Tally;

/// The account of a rollout's shadows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shadows {
    pub(super) copies: Tally,
    found: Vec<Found>,
}

/// What comparing has found of one shadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    key: ShadowKey,
    /// In workers before this one.
    before: verdict::Tally,
    /// In this one.
    seen: verdict::Tally,
}

impl Account {
    /// The shadows that are known so far.
    pub(crate) fn shadows(&self) -> Vec<ShadowKey> {
        self.shadows.found.iter().map(|found| found.key).collect()
    }

    /// Notes what comparing has found in this worker. Returns what is known in all.
    pub(crate) fn note_found(&mut self, key: ShadowKey, seen: Option<verdict::Tally>) -> Figures {
        let all = &mut self.shadows.found;
        let at = match all.iter().position(|found| found.key == key) {
            Some(at) => at,
            None => {
                all.push(Found {
                    key,
                    before: verdict::Tally::default(),
                    seen: verdict::Tally::default(),
                });
                all.len() - 1
            }
        };
        let found = &mut all[at];
        if let Some(seen) = seen.filter(|seen| *seen != found.seen) {
            found.seen = seen;
            self.is_unwritten = true;
        }
        found.all().figures()
    }

    /// Notes that another worker goes on: what it finds comes beside what is known.
    pub(crate) fn begin_worker(&mut self) {
        for found in &mut self.shadows.found {
            found.before = found.all();
            found.seen = verdict::Tally::default();
        }
    }

    /// What came of the shadows so far.
    pub(super) fn shadow_account(&self) -> ShadowAccount {
        let copies = self.shadows.copies.by_release().iter();
        let releases = copies.map(|(release, figures)| (release, by_release_of(figures)));
        let found = self
            .shadows
            .found
            .iter()
            .map(|found| (found.key, found.all()));
        let dropped: BTreeMap<String, u64> = Dropped::ALL
            .into_iter()
            .map(|reason| {
                (
                    reason.name().to_owned(),
                    self.service.sum.not_copied(reason),
                )
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        ShadowAccount {
            by_release: releases
                .filter(|(_, figures)| figures.requests > 0)
                .map(|(release, figures)| (release.to_string(), figures))
                .collect(),
            dropped,
            compared: found
                .filter(|(_, tally)| !tally.is_empty())
                .map(|(key, tally)| tally.report(key.step))
                .collect(),
        }
    }
}

impl Found {
    fn all(&self) -> verdict::Tally {
        let mut all = self.before.clone();
        all.merge(&self.seen);
        all
    }
}
