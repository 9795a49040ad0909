//! Draws among endpoints by their weights.

use crate::affinity;
use crate::hash::{below, mix};
use crate::table::Endpoint;

/// The weights of all together.
pub(super) fn whole<'t>(endpoints: impl Iterator<Item = &'t Endpoint>) -> u64 {
    endpoints.map(Endpoint::weight).sum()
}

/// One drawn at random.
pub(super) fn drawn<'t>(
    endpoints: impl Iterator<Item = &'t Endpoint> + Clone,
    random: u64,
) -> Option<&'t Endpoint> {
    let point = below(random, whole(endpoints.clone()));
    at(endpoints, point)
}

/// Two different ones drawn at random; `None` where there are fewer.
pub(super) fn two<'t>(
    endpoints: impl Iterator<Item = &'t Endpoint> + Clone,
    random: u64,
) -> Option<(&'t Endpoint, &'t Endpoint)> {
    let first = drawn(endpoints.clone(), random)?;
    let others = endpoints.filter(|it| it.cell != first.cell);
    Some((first, drawn(others, mix(random))?))
}

/// The one whose turn it is. Of as many turns as all weigh together, each has exactly as many as
/// it weighs itself, and they are spread over all of them.
pub(super) fn in_turn<'t>(
    endpoints: impl Iterator<Item = &'t Endpoint> + Clone,
    turn: u64,
) -> Option<&'t Endpoint> {
    let whole = whole(endpoints.clone()).max(1);
    let point = (turn % whole) * stride(whole) % whole;
    at(endpoints, point)
}

/// How strongly a key is drawn to an endpoint, as if there were one of it for each unit of its
/// weight: when a weight grows, keys move to that endpoint and nowhere else.
pub(super) fn pull(key: &[u8], endpoint: &Endpoint) -> u64 {
    let first = affinity::pull(key, endpoint);
    let others = (1..endpoint.weight()).map(|unit| mix(first ^ mix(unit)));
    others.fold(first, u64::max)
}

/// The one that a point falls on, each being as wide as its weight.
fn at<'t>(
    mut endpoints: impl Iterator<Item = &'t Endpoint>,
    mut point: u64,
) -> Option<&'t Endpoint> {
    endpoints.find(|it| match point.checked_sub(it.weight()) {
        Some(rest) => {
            point = rest;
            false
        }
        None => true,
    })
}

/// A step with which every one of `whole` points is come to, and neighbours are far apart in
/// time: one near the golden section that shares no factor with it.
fn stride(whole: u64) -> u64 {
    let golden = (whole * 618 / 1_000).max(1);
    let strides = golden..=whole;
    strides
        .into_iter()
        .find(|&stride| factor(stride, whole) == 1)
        .unwrap_or(1)
}

/// The greatest common factor.
fn factor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { factor(b, a % b) }
}
