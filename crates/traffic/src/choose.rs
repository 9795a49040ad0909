//! Chooses a request's release and its endpoint.

use model::ReleaseId;

use crate::affinity::{is_in_share, pull};
use crate::balance::Balancer;
use crate::hash::below;
use crate::load::{Load, is_full};
use crate::standing::Standings;
use crate::table::{Candidate, Cell, Endpoint, ServiceTable};

/// What a request brings along that decides where it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The only release that its route leads to.
    pub only: Option<ReleaseId>,
    /// Whether it belongs to the service's audience.
    pub audience: bool,
    /// Who it comes from, by the service's affinity; `None` without affinity, or if the
    /// request names nobody.
    pub user: Option<&'a [u8]>,
    /// A random number.
    pub random: u64,
    /// The release of an earlier attempt.
    pub kept: Option<ReleaseId>,
    /// The endpoints of earlier attempts.
    pub tried: &'a [Cell],
    /// What the service's balance by hash is made from; `None`: the request has none.
    pub hash: Option<&'a [u8]>,
    /// The time, on the clock of the standings.
    pub now_micros: u64,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'t> {
    /// The release.
    pub release: ReleaseId,
    /// Which of the service's two releases that is.
    pub side: Side,
    /// One of its endpoints.
    pub endpoint: &'t Endpoint,
    /// True for a user of the candidate who goes to the stable release because the candidate
    /// has no ready endpoint.
    pub moved_back: bool,
}

/// One of a service's two releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one that has the rest of the traffic.
    Stable,
    /// The one that a rollout is moving to.
    Candidate,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Candidate];
}

/// What was found for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'t> {
    /// An endpoint.
    At(Choice<'t>),
    /// Every endpoint that it may go to is full.
    Full(FullRelease),
    /// No endpoint is ready, or none is left to try.
    Nobody,
}

/// A release that a request waits for a place at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullRelease {
    /// The release.
    pub release: ReleaseId,
    /// Which of the service's two releases that is.
    pub side: Side,
    /// The only endpoint that will do, where a user stays with one.
    pub only: Option<Cell>,
}

/// Which release a request would go to if both had endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// The stable one; the candidate while the stable one has no endpoint at all.
    Stable,
    /// The candidate by chance; any user may be on either.
    CandidateByChance,
    /// The candidate because of who asks.
    CandidateByRule,
    /// Only this one.
    Only(ReleaseId),
}

/// Chooses where a request goes.
///
/// A full endpoint is never chosen. Where all of a release are full, a request waits for that
/// release; only one that is at the candidate by chance goes to the stable one instead, if that
/// has room.
pub fn choose<'t>(
    service: &'t ServiceTable,
    ask: &Ask<'_>,
    standings: &mut Standings,
    load: &impl Load,
) -> Chosen<'t> {
    let mut from = |side: Side| from_side(service, side, (ask, load), standings);
    match wish(service, ask) {
        Wish::Only(release) => {
            let named = Side::ALL.into_iter().find(|&side| {
                let candidate = on_side(service, side);
                candidate.is_some_and(|named| named.release == release)
            });
            named.map_or(Chosen::Nobody, from)
        }
        Wish::Stable if service.stable.endpoints.is_empty() => from(Side::Candidate),
        Wish::Stable => from(Side::Stable),
        Wish::CandidateByChance => match from(Side::Candidate) {
            found @ Chosen::At(_) => found,
            full @ Chosen::Full(_) => match from(Side::Stable) {
                found @ Chosen::At(_) => found,
                Chosen::Full(_) | Chosen::Nobody => full,
            },
            Chosen::Nobody => from(Side::Stable),
        },
        Wish::CandidateByRule => match from(Side::Candidate) {
            Chosen::Nobody => match from(Side::Stable) {
                Chosen::At(choice) => Chosen::At(Choice {
                    moved_back: true,
                    ..choice
                }),
                other => other,
            },
            found => found,
        },
    }
}

fn on_side(service: &ServiceTable, side: Side) -> Option<&Candidate> {
    match side {
        Side::Stable => Some(&service.stable),
        Side::Candidate => service.candidate.as_ref(),
    }
}

fn from_side<'t>(
    service: &'t ServiceTable,
    side: Side,
    (ask, load): (&Ask<'_>, &impl Load),
    standings: &mut Standings,
) -> Chosen<'t> {
    let Some(release) = on_side(service, side) else {
        return Chosen::Nobody;
    };
    let full = |only| {
        Chosen::Full(FullRelease {
            release: release.release,
            side,
            only,
        })
    };
    let mut untried = release
        .endpoints
        .iter()
        .filter(|it| !ask.tried.contains(&it.cell));
    let found = if let (true, Some(user)) = (service.stick_to_instance, ask.user) {
        let home = untried.max_by_key(|it| (pull(user, it), it.cell));
        let limits = service.delivery.limits.as_ref();
        match home.zip(limits) {
            // Its user waits for it: nobody else has the session.
            Some((home, limits)) if is_full(limits, load, home.cell) => {
                return full(Some(home.cell));
            }
            _ => home,
        }
    } else {
        let balancer = Balancer {
            service,
            endpoints: &release.endpoints,
            ask,
            load,
        };
        match balancer.pick(standings) {
            None if untried.next().is_some() => return full(None),
            picked => picked,
        }
    };
    found.map_or(Chosen::Nobody, |endpoint| {
        Chosen::At(Choice {
            release: release.release,
            side,
            endpoint,
            moved_back: false,
        })
    })
}

fn wish(service: &ServiceTable, ask: &Ask<'_>) -> Wish {
    if let Some(release) = ask.only {
        return Wish::Only(release);
    }
    let Some(candidate) = &service.candidate else {
        return Wish::Stable;
    };
    if ask.kept == Some(service.stable.release) {
        return Wish::Stable;
    }
    let by_rule = ask.audience
        || ask
            .user
            .is_some_and(|user| is_in_share(user, service.rollout, service.share));
    if by_rule {
        return Wish::CandidateByRule;
    }
    let drawn = below(ask.random, 10_000) < u64::from(service.share.basis_points());
    let by_chance = ask.kept == Some(candidate.release) || (ask.user.is_none() && drawn);
    if by_chance {
        Wish::CandidateByChance
    } else {
        Wish::Stable
    }
}

#[cfg(test)]
mod full;
#[cfg(test)]
mod tests;
