//! What a proxy thread has seen of its endpoints: who is new, who fails, who is quick.
//!
//! Each thread has its own. Nothing here decides whether an instance is ready: an ejected
//! endpoint still is, for the rollout as for everybody, and only gets no requests for a while.

use model::{Delivery, Ejection, Share};

use crate::outcome::Outcome;
use crate::table::{Cell, Endpoint, Table};

/// How many times the first ejection's length later ones last, at most.
const EJECTION_GROWTH_MAX: u32 = 30;
/// After this time an old latency counts as much as a new one.
const MEMORY_MICROS: u64 = 10_000_000;
/// The share of its requests that a new endpoint gets at first.
const FIRST_SHARE: u64 = 1_000;

/// What an attempt's end says about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered.
    Good,
    /// It did not, or said itself that it cannot serve.
    Bad,
}

impl Sign {
    /// What an outcome says; `None`: nothing. A 500 is an answer; 502, 503 and 504 are not.
    #[must_use]
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Status2xx
            | Outcome::Status3xx
            | Outcome::Status4xx
            | Outcome::Status5xx
            | Outcome::TunnelOpened => Some(Self::Good),
            Outcome::Status502
            | Outcome::Status503
            | Outcome::Status504
            | Outcome::ConnectFailed
            | Outcome::ConnectRepeated
            | Outcome::NoResponse
            | Outcome::NoResponseRepeated
            | Outcome::BadResponse
            | Outcome::Truncated
            | Outcome::Timeout => Some(Self::Bad),
            Outcome::Cut | Outcome::Killed | Outcome::ClientGone | Outcome::TunnelClosed => None,
        }
    }
}

/// What is known of the endpoints, by their cells. Times are microseconds of one clock.
#[derive(Debug, Clone, Default)]
pub struct Standings {
    endpoints: Vec<Standing>,
    /// From then on nobody is new or ejected.
    calm_micros: u64,
    /// How many requests each service has spread in turn, by its cell.
    turns: Vec<u64>,
    is_begun: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    is_present: bool,
    /// When it came; 0: with the first table.
    since_micros: u64,
    failures_in_row: u32,
    ejections: u32,
    ejected_until_micros: u64,
    latency_micros: u64,
    measured_micros: u64,
}

impl Standings {
    /// Follows a table: endpoints that it has and the one before had not are new, but for those
    /// of the first table.
    pub fn follow(&mut self, table: &Table, now_micros: u64) {
        let mut gone: Vec<usize> = Vec::new();
        for (at, standing) in self.endpoints.iter_mut().enumerate() {
            if std::mem::take(&mut standing.is_present) {
                gone.push(at);
            }
        }
        let was_present = |cell: usize| gone.binary_search(&cell).is_ok();
        for service in &table.services {
            let sides = std::iter::once(&service.stable).chain(&service.candidate);
            for endpoint in sides.flat_map(|side| &side.endpoints) {
                let standing = at_cell(&mut self.endpoints, endpoint.cell);
                if !was_present(endpoint.cell.0 as usize) && !standing.is_present {
                    *standing = Standing::default();
                    if self.is_begun {
                        standing.since_micros = now_micros;
                        let ramp = micros(service.delivery.slow_start);
                        self.calm_micros = self.calm_micros.max(now_micros.saturating_add(ramp));
                    }
                }
                standing.is_present = true;
            }
        }
        self.is_begun = true;
    }

    /// True if no endpoint is new or ejected.
    pub(crate) fn is_calm(&self, now_micros: u64) -> bool {
        now_micros >= self.calm_micros
    }

    pub(crate) fn is_ejected(&self, cell: Cell, now_micros: u64) -> bool {
        self.of(cell).ejected_until_micros > now_micros
    }

    /// The share of its requests that an endpoint gets, growing evenly from a tenth to all.
    #[must_use]
    pub fn ramp(&self, cell: Cell, delivery: &Delivery, now_micros: u64) -> Share {
        let whole = micros(delivery.slow_start);
        let since = self.of(cell).since_micros;
        let age = now_micros.saturating_sub(since);
        if since == 0 || age >= whole {
            return Share::ALL;
        }
        let all = u64::from(Share::ALL.basis_points());
        let grown = u128::from(all - FIRST_SHARE) * u128::from(age) / u128::from(whole);
        let points = u16::try_from(FIRST_SHARE + grown as u64).unwrap_or(u16::MAX);
        Share::try_new(points).unwrap_or(Share::ALL)
    }

    /// Counts an attempt's end. Returns how many in a row were bad.
    pub fn note(&mut self, cell: Cell, sign: Sign) -> u32 {
        let standing = at_cell(&mut self.endpoints, cell);
        standing.failures_in_row = match sign {
            Sign::Good => 0,
            Sign::Bad => standing.failures_in_row.saturating_add(1),
        };
        standing.failures_in_row
    }

    /// Ejects one of `endpoints`, unless too many of them are ejected already, or it is the
    /// only one. True if it did.
    pub fn eject(
        &mut self,
        cell: Cell,
        (endpoints, ejection): (&[Endpoint], &Ejection),
        now_micros: u64,
    ) -> bool {
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        let ejected = endpoints
            .iter()
            .filter(|one| self.is_ejected(one.cell, now_micros));
        let room = ejection
            .max_share
            .of_count_down(count)
            .min(count.saturating_sub(1));
        if self.is_ejected(cell, now_micros) || ejected.count() >= room as usize {
            return false;
        }
        let first = micros(ejection.lasts).max(1);
        let standing = at_cell(&mut self.endpoints, cell);
        // Each time as long as the first ejection without another one is forgiven.
        let good = now_micros.saturating_sub(standing.ejected_until_micros) / first;
        let past = u64::from(standing.ejections).saturating_sub(good);
        standing.ejections = (past as u32).saturating_add(1).min(EJECTION_GROWTH_MAX);
        let lasts = first.saturating_mul(u64::from(standing.ejections));
        standing.ejected_until_micros = now_micros.saturating_add(lasts);
        standing.failures_in_row = 0;
        self.calm_micros = self.calm_micros.max(standing.ejected_until_micros);
        true
    }

    /// Notes how long an endpoint took: a longer time counts at once, a shorter one slowly.
    pub fn measure(&mut self, cell: Cell, latency_micros: u64, now_micros: u64) {
        let standing = at_cell(&mut self.endpoints, cell);
        let age = now_micros.saturating_sub(standing.measured_micros);
        standing.latency_micros = if latency_micros >= standing.latency_micros {
            latency_micros
        } else {
            let (old, new) = (
                u128::from(standing.latency_micros),
                u128::from(latency_micros),
            );
            let (memory, age) = (u128::from(MEMORY_MICROS), u128::from(age));
            ((old * memory + new * age) / (memory + age)) as u64
        };
        standing.measured_micros = now_micros;
    }

    /// What a request at an endpoint with `open` others would cost, times its weight; `None`: it
    /// was not measured. A peak that nothing confirms fades.
    pub(crate) fn cost(&self, endpoint: &Endpoint, open: u32, now_micros: u64) -> Option<u128> {
        let standing = self.of(endpoint.cell);
        if standing.measured_micros == 0 {
            return None;
        }
        let age = u128::from(now_micros.saturating_sub(standing.measured_micros));
        let memory = u128::from(MEMORY_MICROS);
        let latency = u128::from(standing.latency_micros) * memory / (memory + age);
        // Equally quick ones that have nothing to do cost the same, whatever their weights: then
        // it is by weight which of them are drawn.
        Some((latency + 1) * (u128::from(open) + u128::from(endpoint.weight())))
    }

    /// The next number of a service's turns.
    pub(crate) fn turn(&mut self, service: Cell) -> u64 {
        let turn = at_cell(&mut self.turns, service);
        *turn = turn.wrapping_add(1);
        *turn
    }

    fn of(&self, cell: Cell) -> Standing {
        let standing = self.endpoints.get(cell.0 as usize);
        standing.copied().unwrap_or_default()
    }
}

fn at_cell<T: Clone + Default>(list: &mut Vec<T>, cell: Cell) -> &mut T {
    let at = cell.0 as usize;
    if at >= list.len() {
        list.resize(at + 1, T::default());
    }
    &mut list[at]
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
