//! Chooses among the ready endpoints of a release.
//!
//! First it is decided which of them may be chosen at all: those that were not tried, have room,
//! are not ejected, and have their turn if they are new. Where none is left, the last two rules
//! are dropped one after the other: a request is never turned away because of them.

mod weigh;

use std::cmp::Ordering;

use model::{Balancing, Share};

use crate::affinity::pull;
use crate::choose::Ask;
use crate::hash::{below, mix};
use crate::load::{Load, is_full};
use crate::standing::Standings;
use crate::table::{Endpoint, ServiceTable};

/// With a hash, the most that an endpoint may have open, in percent of its part of all.
const BOUND_PERCENT: u64 = 125;

/// Which endpoints may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Neither ejected nor a new one out of turn.
    InTurn,
    /// Not ejected.
    NotEjected,
    /// Any that was not tried and has room.
    Untried,
}

/// A choice among the endpoints of one release.
pub(crate) struct Balancer<'a, 't, L> {
    pub(crate) service: &'a ServiceTable,
    pub(crate) endpoints: &'t [Endpoint],
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) load: &'a L,
}

impl<'t, L: Load> Balancer<'_, 't, L> {
    /// Picks one; `None` if all were tried or are full.
    pub(crate) fn pick(&self, standings: &mut Standings) -> Option<&'t Endpoint> {
        let (rule, left) = self.rule(standings);
        if left < 2 {
            return self.left(rule, standings).next();
        }
        let random = mix(self.ask.random);
        match (&self.service.delivery.balance, self.ask.hash) {
            (Balancing::Hash(_), Some(key)) => self.hashed((rule, left), key, standings),
            (Balancing::RoundRobin, _) => {
                let turn = standings.turn(self.service.cell);
                if self.is_weighed() {
                    return weigh::in_turn(self.left(rule, standings), turn);
                }
                self.nth((rule, (turn % left as u64) as usize), standings)
            }
            (Balancing::LeastRequests, _) => self.least((rule, left), random, standings),
            (Balancing::PeakEwma, _) => {
                let (one, other) = self.two((rule, left), random, standings)?;
                let now = self.ask.now_micros;
                let cost = |it: &Endpoint| standings.cost(it, self.load.open(it.cell), now);
                match (cost(one), cost(other)) {
                    (Some(a), Some(b)) => {
                        let is_less = b * u128::from(one.weight()) < a * u128::from(other.weight());
                        Some(if is_less { other } else { one })
                    }
                    (None, _) | (_, None) => Some(self.emptier(one, other)),
                }
            }
            (Balancing::P2c | Balancing::Hash(_), _) => {
                let (one, other) = self.two((rule, left), random, standings)?;
                Some(self.emptier(one, other))
            }
        }
    }

    /// The strictest rule that leaves an endpoint, and how many it leaves.
    fn rule(&self, standings: &Standings) -> (Rule, usize) {
        let count = |rule| self.left(rule, standings).count();
        if standings.is_calm(self.ask.now_micros) {
            let left = if self.may_all() {
                self.endpoints.len()
            } else {
                count(Rule::Untried)
            };
            return (Rule::Untried, left);
        }
        let all = [Rule::InTurn, Rule::NotEjected, Rule::Untried];
        let rules = if self.is_panic(standings) {
            &all[2..]
        } else {
            &all[..]
        };
        let mut counted = rules.iter().map(|&rule| (rule, count(rule)));
        let found = counted.find(|(_, left)| *left > 0);
        found.unwrap_or((Rule::Untried, 0))
    }

    /// True if so many are ejected that the others could not bear it.
    fn is_panic(&self, standings: &Standings) -> bool {
        let Some(ejection) = &self.service.delivery.ejection else {
            // Nobody is ejected any more; new ones have their turns.
            return false;
        };
        let is_ejected = |it: &&Endpoint| standings.is_ejected(it.cell, self.ask.now_micros);
        let ejected = self.endpoints.iter().filter(is_ejected).count();
        let share = Share::of(ejected as u32, self.endpoints.len() as u32);
        share > ejection.panic_share
    }

    /// The endpoints that a rule leaves, in their order.
    fn left(
        &self,
        rule: Rule,
        standings: &Standings,
    ) -> impl Iterator<Item = &'t Endpoint> + Clone {
        let now = self.ask.now_micros;
        let may_eject = self.service.delivery.ejection.is_some();
        self.endpoints.iter().filter(move |it| {
            let is_untried = self.may(it);
            let is_trusted = || !may_eject || !standings.is_ejected(it.cell, now);
            match rule {
                Rule::Untried => is_untried,
                Rule::NotEjected => is_untried && is_trusted(),
                Rule::InTurn => is_untried && is_trusted() && self.is_in_turn(it, standings),
            }
        })
    }

    /// True if the endpoints say what they take beside each other.
    fn is_weighed(&self) -> bool {
        let first = self.endpoints.first();
        first.is_some_and(|it| it.weight.is_some())
    }

    /// True if every endpoint may be chosen as far as the request and their load go.
    fn may_all(&self) -> bool {
        self.ask.tried.is_empty() && self.service.delivery.limits.is_none()
    }

    /// True if an endpoint was not tried and has room.
    fn may(&self, endpoint: &Endpoint) -> bool {
        let limits = self.service.delivery.limits.as_ref();
        !self.ask.tried.contains(&endpoint.cell)
            && !limits.is_some_and(|limits| is_full(limits, self.load, endpoint.cell))
    }

    /// True unless a new endpoint is passed over this time. A key that it has stays with it.
    fn is_in_turn(&self, endpoint: &Endpoint, standings: &Standings) -> bool {
        let delivery = &self.service.delivery;
        let share = standings.ramp(endpoint.cell, delivery, self.ask.now_micros);
        let drawn = match (&delivery.balance, self.ask.hash) {
            (Balancing::Hash(_), Some(key)) => mix(pull(key, endpoint)),
            _ => mix(self.ask.random ^ mix(u64::from(endpoint.cell.0))),
        };
        below(drawn, 10_000) < u64::from(share.basis_points())
    }

    fn nth(&self, (rule, at): (Rule, usize), standings: &Standings) -> Option<&'t Endpoint> {
        if rule == Rule::Untried && self.may_all() {
            return self.endpoints.get(at);
        }
        self.left(rule, standings).nth(at)
    }

    /// Two different ones drawn at random, by their weights.
    fn two(
        &self,
        (rule, left): (Rule, usize),
        random: u64,
        standings: &Standings,
    ) -> Option<(&'t Endpoint, &'t Endpoint)> {
        if self.is_weighed() {
            return weigh::two(self.left(rule, standings), random);
        }
        let first = below(random, left as u64) as usize;
        let second = below(mix(random), left as u64 - 1) as usize;
        let second = if second >= first { second + 1 } else { second };
        let drawn = |at| self.nth((rule, at), standings);
        drawn(first).zip(drawn(second))
    }

    /// The one with fewer open requests for its weight; on a tie, the first.
    fn emptier(&self, one: &'t Endpoint, other: &'t Endpoint) -> &'t Endpoint {
        match self.by_load(other, one) {
            Ordering::Less => other,
            Ordering::Equal | Ordering::Greater => one,
        }
    }

    /// Compares what two have open for their weights.
    fn by_load(&self, one: &Endpoint, other: &Endpoint) -> Ordering {
        let open = |it: &Endpoint| u64::from(self.load.open(it.cell));
        (open(one) * other.weight()).cmp(&(open(other) * one.weight()))
    }

    /// The one with the fewest open requests for its weight; of several, one drawn at random.
    fn least(
        &self,
        (rule, left): (Rule, usize),
        random: u64,
        standings: &Standings,
    ) -> Option<&'t Endpoint> {
        if self.is_weighed() {
            let all = self.left(rule, standings);
            let least = all.clone().min_by(|one, other| self.by_load(one, other))?;
            let least = all.filter(|it| self.by_load(it, least).is_eq());
            return weigh::drawn(least, random);
        }
        let first = below(random, left as u64) as usize;
        let all = self.left(rule, standings).enumerate();
        let turned = |at: usize| if at < first { at + left } else { at - first };
        all.min_by_key(|(at, it)| (self.load.open(it.cell), turned(*at)))
            .map(|(_, it)| it)
    }

    /// The one that the key is drawn to most, of those that do not have far more than their
    /// part already. One always has not.
    fn hashed(
        &self,
        (rule, left): (Rule, usize),
        key: &[u8],
        standings: &Standings,
    ) -> Option<&'t Endpoint> {
        let open = |it: &Endpoint| u64::from(self.load.open(it.cell));
        let all = self.left(rule, standings).map(open).sum::<u64>() + 1;
        let whole = match self.is_weighed() {
            true => weigh::whole(self.left(rule, standings)),
            false => left as u64,
        };
        let bound = |it: &Endpoint| (all * BOUND_PERCENT * it.weight()).div_ceil(100 * whole);
        let free = self.left(rule, standings);
        let free = free.filter(|it| open(it) < bound(it));
        free.max_by_key(|it| (weigh::pull(key, it), it.cell))
    }
}

#[cfg(test)]
mod tests;
