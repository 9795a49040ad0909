//! From an account to a receipt.

use std::collections::BTreeMap;

use ledger::Histogram;
use model::{
    Balance, ByRelease, HedgedRequests, Latency, LatencyWindows, Lost, PausedRequests, Receipt,
    RejectedRequests, ReleaseId, Time, Waited,
};
use rollout::Ended;
use traffic::{Effect, Outcome, Rejected};

use super::figures::Figures;
use super::{Account, After, InFlight};
use crate::api;
use crate::clock::rfc3339;

/// Two percentiles; `None` when nothing was measured.
pub(crate) fn latency_of(histogram: &Histogram) -> Option<Latency> {
    Some(Latency {
        p50_micros: histogram.percentile(5_000)?,
        p99_micros: histogram.percentile(9_900)?,
    })
}

impl Account {
    /// The receipt as it stands, and from now on latency afterwards is counted.
    pub(crate) fn receipt(&mut self, now: Time) -> Receipt {
        let during = self.histogram();
        let unknown = || Ended {
            outcome: model::Outcome::Failed,
            reason: "it has not ended".to_owned(),
        };
        let ended = self.closing.as_ref().map(|closing| closing.ended.clone());
        let ended = ended.unwrap_or_else(unknown);
        let end = self.closing.as_ref().map_or(now, |closing| closing.at);
        let receipt = self.receipt_at(ended, end, latency_of(&during));
        if let Some(closing) = &mut self.closing {
            closing.after.get_or_insert_with(|| After {
                since: now,
                during: during.counts().collect(),
            });
        }
        receipt
    }

    /// The latency since the receipt was made.
    pub(crate) fn after(&self) -> Option<Latency> {
        let after = self.closing.as_ref()?.after.as_ref()?;
        let mut earlier = Histogram::default();
        for (&bucket, &count) in &after.during {
            earlier.add_to(bucket, count);
        }
        latency_of(&self.histogram().since(&earlier))
    }

    /// The account so far, for people who watch.
    pub(crate) fn view(&self) -> api::Account {
        let lost_by_reason = self.lost_by_reason();
        let by_release = self.tally.by_release().iter();
        api::Account {
            rollout: self.opening.rollout,
            requests: self.service.sum.requests,
            lost: lost_by_reason.values().sum(),
            lost_by_reason,
            failed_by_release: self.with_effect(Effect::Failed),
            cut: self.cut(),
            shadow: self.shadow_account(),
            by_release: by_release
                .map(|(release, figures)| (release.to_string(), by_release_of(figures).requests))
                .collect(),
        }
    }

    fn receipt_at(&self, ended: Ended, end: Time, during: Option<Latency>) -> Receipt {
        let opening = &self.opening;
        let lost_by_reason = self.lost_by_reason();
        let seconds = |time: Time| time.since(opening.began).as_millis() as f64 / 1e3;
        let releases = self.tally.by_release().iter();
        let mut waited: Vec<Waited> = self
            .waited_ms
            .iter()
            .map(|(on, ms)| Waited {
                on: on.clone(),
                ms: *ms,
            })
            .collect();
        waited.sort_by_key(|waited| std::cmp::Reverse(waited.ms));
        Receipt {
            v: api::VERSION,
            kind: "receipt".to_owned(),
            rollout: opening.rollout,
            service: opening.service.clone(),
            from: opening.from.map(|release| release.to_string()),
            to: opening.to.to_string(),
            label: opening.label.clone(),
            strategy: opening.strategy.clone(),
            outcome: ended.outcome,
            reason: ended.reason,
            started: rfc3339(opening.began_wall_ms),
            requests: self.measured(self.service.sum.requests),
            lost: self.measured(lost_by_reason.values().sum()),
            lost_by_reason,
            failed_by_release: self.measured(self.with_effect(Effect::Failed)),
            cut: self.measured(self.cut()),
            cut_by: self.cut_by(),
            refused: self.measured(self.refused()),
            longest_gap_ms: self.measured(self.gap_micros.div_ceil(1_000)),
            longest_gap_before_ms: opening.gap_before_micros.map(|gap| gap.div_ceil(1_000)),
            latency_ms: LatencyWindows {
                before: opening.before,
                during,
                after: None,
            },
            by_release: releases
                .map(|(release, figures)| (*release, by_release_of(figures)))
                .filter(|(release, figures)| self.concerns(*release, figures))
                .map(|(release, figures)| (release.to_string(), figures))
                .collect(),
            balance: self.service.seen.is_some().then(|| self.balance()),
            rejected: self.rejected(),
            paused: self.paused(),
            hedged: HedgedRequests {
                attempts: self.service.sum.hedged,
                won: self.service.sum.hedges_won,
            },
            shadow: self.shadow_account(),
            moved_back: self.service.sum.moved_back,
            seconds: seconds(end),
            first_cutover_seconds: self.first_cutover.map(seconds),
            last_cutover_seconds: self.last_cutover.map(seconds),
            waited,
            instances: self.lives.times(),
            schema: self.schema.clone(),
        }
    }

    /// Whether a release belongs on the receipt: both of the rollout do, others when they had
    /// requests.
    fn concerns(&self, release: ReleaseId, figures: &ByRelease) -> bool {
        let own = [self.opening.from, Some(self.opening.to)].contains(&Some(release));
        own || *figures != ByRelease::default()
    }

    /// A figure of the proxy; a service that it never had has none.
    fn measured(&self, figure: u64) -> Option<u64> {
        self.service.seen.is_some().then_some(figure)
    }

    fn histogram(&self) -> Histogram {
        let mut all = Histogram::default();
        for figures in self.tally.by_release().values() {
            all.add(&figures.histogram());
        }
        all
    }

    fn seen(&self) -> impl Iterator<Item = (Outcome, Effect, u64)> {
        let releases = self.tally.by_release().values();
        releases.flat_map(Figures::seen)
    }

    fn with_effect(&self, wanted: Effect) -> u64 {
        let seen = self.seen().filter(|(_, effect, _)| *effect == wanted);
        seen.map(|(_, _, count)| count).sum()
    }

    /// What the workers that died and the drain limit ended.
    fn cut(&self) -> u64 {
        let waiting = self.service.sum.killed_waiting;
        let known = self.with_effect(Effect::Cut) + waiting + self.killed_reading.sum;
        // A worker may die between two of its counters.
        known + if self.worker_died { self.unknown() } else { 0 }
    }

    /// The same by what carried it.
    fn cut_by(&self) -> BTreeMap<String, u64> {
        let seen = self.seen().filter(|(one, ..)| *one == Outcome::Cut);
        let ended: u64 = seen.map(|(_, _, count)| count).sum();
        let service = &self.service.sum;
        let (websockets, streams) = (service.cut_websockets, service.cut_streams);
        let by = [
            ("requests", ended.saturating_sub(websockets + streams)),
            ("websockets", websockets),
            ("streams", streams),
            // What a worker had open when it died is not told apart.
            ("killed", self.cut().saturating_sub(ended)),
        ];
        let by = by.into_iter().filter(|(_, count)| *count > 0);
        by.map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn balance(&self) -> Balance {
        let InFlight { begin, now } = self.in_flight;
        let ended: u64 = self
            .seen()
            .filter(|(_, effect, _)| !matches!(effect, Effect::Repeated | Effect::None))
            .map(|(_, _, count)| count)
            .sum();
        Balance {
            open_at_begin: begin,
            open_at_end: now,
            without_release: (self.service.sum.requests + begin).saturating_sub(ended + now),
        }
    }

    /// Requests that arrived, are not open and of which nobody knows what became: those whose
    /// clients went away while they waited for an endpoint, and what we do not count right.
    pub(super) fn unknown(&self) -> u64 {
        let service = &self.service.sum;
        // Those that never came to an endpoint.
        let turned_away = [
            Rejected::NoRoute,
            Rejected::BodyTooLarge,
            Rejected::NoEndpoint,
            Rejected::Overload,
            Rejected::Paused,
            Rejected::Maintenance,
            Rejected::QueueFull,
            Rejected::QueueTimeout,
        ];
        let turned_away: u64 = turned_away.iter().map(|why| service.rejected(*why)).sum();
        let without_release = self.balance().without_release;
        let gone = service.killed_waiting + service.held_left + service.queue_left;
        without_release.saturating_sub(turned_away + gone)
    }

    fn refused(&self) -> u64 {
        self.refused.values().map(|watched| watched.sum).sum()
    }

    fn lost_by_reason(&self) -> BTreeMap<Lost, u64> {
        let mut lost: BTreeMap<Lost, u64> = BTreeMap::new();
        for (_, effect, count) in self.seen() {
            if let Effect::Lost(reason) = effect {
                *lost.entry(reason).or_default() += count;
            }
        }
        // Where nothing was ready before either, the rollout is not why nothing was.
        if self.opening.from_ready {
            let service = &self.service.sum;
            // Nor is it known whether endpoints would have been full without it.
            let unready = [
                Rejected::NoEndpoint,
                Rejected::Overload,
                Rejected::QueueFull,
                Rejected::QueueTimeout,
            ];
            let unready: u64 = unready.iter().map(|why| service.rejected(*why)).sum();
            *lost.entry(Lost::NoEndpoint).or_default() += unready;
            if !self.worker_died {
                *lost.entry(Lost::Unknown).or_default() += self.unknown();
            }
        }
        *lost.entry(Lost::Refused).or_default() += self.refused();
        lost.retain(|_, count| *count > 0);
        lost
    }

    fn paused(&self) -> PausedRequests {
        let service = &self.service.sum;
        PausedRequests {
            ms: self.paused_ms,
            held: service.held,
            left: service.held_left,
            refused: service.rejected(Rejected::Paused),
        }
    }

    fn rejected(&self) -> RejectedRequests {
        let all = Rejected::ALL.into_iter();
        let counts = all.map(|reason| (reason.name(), self.service.sum.rejected(reason)));
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }
}

pub(super) fn by_release_of(figures: &Figures) -> ByRelease {
    let mut release = ByRelease::default();
    for (outcome, effect, count) in figures.seen() {
        match effect {
            Effect::Repeated => release.retried += count,
            Effect::None => continue,
            Effect::Failed => {
                release.failed += count;
                release.requests += count;
            }
            Effect::Fine | Effect::Lost(_) | Effect::Cut | Effect::Abandoned => {
                release.requests += count;
            }
        }
        let (responses, name) = match place(outcome) {
            Place::Response(class) => (&mut release.responses, class),
            Place::Error(reason) => (&mut release.errors, reason),
            Place::Tunnel => continue,
        };
        *responses.entry(name.to_owned()).or_default() += count;
    }
    release.latency_ms = latency_of(&figures.histogram());
    release
}

enum Place {
    Response(&'static str),
    Error(&'static str),
    Tunnel,
}

/// Where an outcome stands among a release's figures.
fn place(outcome: Outcome) -> Place {
    match outcome {
        Outcome::Status2xx => Place::Response("2xx"),
        Outcome::Status3xx => Place::Response("3xx"),
        Outcome::Status4xx => Place::Response("4xx"),
        Outcome::Status5xx | Outcome::Status502 | Outcome::Status503 | Outcome::Status504 => {
            Place::Response("5xx")
        }
        Outcome::ConnectFailed | Outcome::ConnectRepeated => Place::Error("connect"),
        Outcome::NoResponse | Outcome::NoResponseRepeated => Place::Error("no_response"),
        Outcome::BadResponse => Place::Error("bad_response"),
        Outcome::Truncated => Place::Error("truncated"),
        Outcome::Timeout => Place::Error("timeout"),
        Outcome::Cut => Place::Error("cut"),
        Outcome::Killed => Place::Error("killed"),
        Outcome::ClientGone => Place::Error("client_gone"),
        Outcome::TunnelOpened | Outcome::TunnelClosed => Place::Tunnel,
    }
}
