//! Which instances of a release are surplus, and how many are missing.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The instances of one release that are not on their way out, beside what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Census {
    /// So many are wanted.
    pub(crate) wanted: usize,
    /// By serial: oldest first.
    pub(crate) members: Vec<Member>,
    /// So many others of the release are on their way out and not gone.
    pub(crate) leaving: usize,
    /// Whether two may not overlap.
    pub(crate) exclusive: bool,
    /// The most that are replaced at a time because their probes fail.
    pub(crate) replaced_max: usize,
}

/// One instance, as far as the choice cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its serial.
    pub(crate) serial: u32,
    /// How far it is.
    pub(crate) phase: Phase,
    /// Whether it is to be replaced by a fresh one.
    pub(crate) stale: bool,
}

/// How far an instance is, the least useful first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Ordered.
    Ordered,
    /// Runs, was never ready.
    Starting,
    /// Was ready, its probes fail.
    Unhealthy,
    /// Ready.
    Ready,
    /// Ready for at least `min_ready`.
    Available,
}

impl Phase {
    fn is_serving(self) -> bool {
        self >= Self::Unhealthy
    }
}

impl Member {
    /// Whether it is what is wanted, or will be.
    fn is_good(self) -> bool {
        !self.stale && self.phase != Phase::Unhealthy
    }
}

impl Census {
    /// The next instance to let go, if one may go now.
    ///
    /// What does not serve goes first, newest first: it is the furthest from serving, and
    /// nobody misses it. Then what serves badly, then what is to be replaced, then the oldest:
    /// it has gathered the most of whatever gathers in a process. Nothing that serves goes to
    /// make room for its replacement before that one is ready, but for an exclusive release,
    /// whose replacement cannot even start before.
    pub(crate) fn surplus(&self) -> Option<u32> {
        let too_many = self.good().count() > self.wanted;
        let idle = too_many.then(|| least_far(self.good())).flatten();
        let oldest = || too_many.then(|| self.good().next()).flatten();
        idle.or_else(|| self.replaceable())
            .or_else(oldest)
            .map(|m| m.serial)
    }

    /// How many are to be started now, back-off aside.
    ///
    /// As many as are missing; beyond the wanted count only to replace: one at a time for
    /// stale ones, `replaced_max` for those whose probes fail, and those on their way out count.
    pub(crate) fn missing(&self) -> usize {
        let up = self.members.len();
        let bad = up - self.good().count();
        let plain = self.wanted.saturating_sub(up);
        if self.exclusive || self.wanted == 0 {
            return plain;
        }
        let sick = self.members.iter().filter(|m| m.phase == Phase::Unhealthy);
        let stale = self.members.iter().filter(|m| m.stale);
        let surge = sick
            .count()
            .min(self.replaced_max)
            .max(stale.count().min(1));
        let living = up + self.leaving + plain;
        let room = (self.wanted + surge).saturating_sub(living);
        let replaced = (self.wanted + bad).saturating_sub(up + plain);
        plain + replaced.min(room)
    }

    /// A stale or unhealthy one that may go.
    fn replaceable(&self) -> Option<Member> {
        let mut bad = self.members.iter().copied().filter(|m| !m.is_good());
        if self.exclusive {
            return bad.next();
        }
        if self.members.len() <= self.wanted {
            return None;
        }
        least_far(bad.clone()).or_else(|| bad.find(|m| self.is_replaced(*m)))
    }

    /// Whether enough serve without this one, which serves.
    fn is_replaced(&self, member: Member) -> bool {
        let needed = match member.phase {
            Phase::Unhealthy => Phase::Unhealthy,
            Phase::Ordered | Phase::Starting | Phase::Ready | Phase::Available => Phase::Available,
        };
        let others = self.members.iter().filter(|m| m.serial != member.serial);
        others.filter(|m| m.phase >= needed).count() >= self.wanted
    }

    fn good(&self) -> impl Iterator<Item = Member> {
        self.members.iter().copied().filter(|m| m.is_good())
    }
}

/// The one that is furthest from serving, if one does not serve.
fn least_far(members: impl Iterator<Item = Member>) -> Option<Member> {
    members
        .filter(|m| !m.phase.is_serving())
        .min_by_key(|m| (m.phase, Reverse(m.serial)))
}

/// Which instances are to be replaced by fresh ones.
pub(crate) struct Stale<'a> {
    /// Serials below.
    pub(crate) fresh_from: u32,
    /// And these.
    pub(crate) serials: &'a BTreeSet<u32>,
}

impl Stale<'_> {
    /// Whether this one is.
    pub(crate) fn holds(&self, serial: u32) -> bool {
        serial < self.fresh_from || self.serials.contains(&serial)
    }
}
