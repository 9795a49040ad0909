//! Chooses a request's release and its endpoint.

use model::ReleaseId;

use crate::affinity::{is_in_share, pull};
use crate::balance::Balancer;
use crate::hash::below;
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
    /// One of its endpoints.
    pub endpoint: &'t Endpoint,
    /// True for a user of the candidate who goes to the stable release because the candidate
    /// has no ready endpoint.
    pub moved_back: bool,
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

/// Chooses where a request goes; `None` if no endpoint is ready (or none is left to try).
///
/// `open` tells how many requests an endpoint has open.
pub fn choose<'t>(
    service: &'t ServiceTable,
    ask: &Ask<'_>,
    standings: &mut Standings,
    open: impl Fn(Cell) -> u32,
) -> Option<Choice<'t>> {
    let mut from = |release: &'t Candidate, moved_back: bool| {
        let endpoint = endpoint(service, release, (ask, &open), standings)?;
        Some(Choice {
            release: release.release,
            endpoint,
            moved_back,
        })
    };
    let (stable, candidate) = (&service.stable, service.candidate.as_ref());
    match wish(service, ask) {
        Wish::Only(release) => {
            let named = [Some(stable), candidate].into_iter().flatten();
            named
                .filter(|named| named.release == release)
                .find_map(|named| from(named, false))
        }
        Wish::Stable if stable.endpoints.is_empty() => from(candidate?, false),
        Wish::Stable => from(stable, false),
        Wish::CandidateByChance => candidate
            .and_then(|it| from(it, false))
            .or_else(|| from(stable, false)),
        Wish::CandidateByRule => candidate
            .and_then(|it| from(it, false))
            .or_else(|| from(stable, true)),
    }
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

fn endpoint<'t>(
    service: &ServiceTable,
    release: &'t Candidate,
    (ask, open): (&Ask<'_>, &impl Fn(Cell) -> u32),
    standings: &mut Standings,
) -> Option<&'t Endpoint> {
    let endpoints = &release.endpoints;
    if let (true, Some(user)) = (service.stick_to_instance, ask.user) {
        let left = endpoints
            .iter()
            .filter(|endpoint| !ask.tried.contains(&endpoint.cell));
        return left.max_by_key(|endpoint| (pull(user, endpoint), endpoint.cell));
    }
    let balancer = Balancer {
        service,
        endpoints,
        ask,
        open,
    };
    balancer.pick(standings)
}

#[cfg(test)]
mod tests;
