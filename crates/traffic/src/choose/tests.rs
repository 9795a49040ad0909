use model::{Affinity, InstanceId, RolloutId, ServiceName, Share};
use proptest::prelude::*;

use super::*;
use crate::affinity::CookieId;
use crate::hash::mix;

fn release(number: u32, cells: std::ops::Range<u32>) -> Candidate {
    let endpoint = |cell: u32| Endpoint {
        instance: InstanceId {
            service: ServiceName::try_new("web").unwrap(),
            release: ReleaseId(number),
            serial: cell,
        },
        address: ([127, 0, 0, 1], 9_000 + cell as u16).into(),
        protocol: model::Protocol::Http1,
        cell: Cell(cell),
        weight: None,
    };
    Candidate {
        release: ReleaseId(number),
        endpoints: cells.map(endpoint).collect(),
        tls: None,
    }
}

pub(super) fn service(
    stable: std::ops::Range<u32>,
    candidate: std::ops::Range<u32>,
    share: u16,
) -> ServiceTable {
    let name = ServiceName::try_new("web").unwrap();
    ServiceTable {
        candidate: Some(release(2, candidate)),
        share: Share::try_new(share).unwrap(),
        rollout: Some(RolloutId(1)),
        affinity: Some(Affinity::Cookie),
        ..ServiceTable::serving(name, Cell(0), release(1, stable))
    }
}

fn chosen(service: &ServiceTable, ask: &Ask<'_>) -> Option<(u32, u32, bool)> {
    let chosen = choose(service, ask, &mut Standings::default(), &|_: Cell| 0);
    let Chosen::At(choice) = chosen else {
        return None;
    };
    Some((choice.release.0, choice.endpoint.cell.0, choice.moved_back))
}

#[test]
fn what_holds_requests_back_changes_no_route_and_a_split_does() {
    let table = service(0..2, 2..3, 500);
    let paused = ServiceTable {
        paused: Some(crate::Paused {
            until: model::Time(1),
            until_micros: 2,
        }),
        ..table.clone()
    };
    assert!(paused.routes_like(&table) && paused != table);
    assert!(!service(0..2, 2..3, 600).routes_like(&table));
}

#[test]
fn requests_without_a_user_split_as_the_share_says() {
    let service = service(0..2, 2..3, 500);
    let random = (0..20_000_u64).map(mix);
    let candidates = random
        .filter(|&random| {
            chosen(
                &service,
                &Ask {
                    random,
                    ..Ask::default()
                },
            )
            .unwrap()
            .0 == 2
        })
        .count();
    // Five standard deviations of a binomial: sqrt(20000 * 0.05 * 0.95) = 31.
    assert!(candidates.abs_diff(1_000) < 155, "{candidates}");
}

#[test]
fn an_audience_goes_to_the_candidate_even_at_no_share() {
    let service = service(0..1, 1..2, 0);
    assert_eq!(
        chosen(
            &service,
            &Ask {
                audience: true,
                ..Ask::default()
            }
        ),
        Some((2, 1, false))
    );
    assert_eq!(chosen(&service, &Ask::default()), Some((1, 0, false)));
}

#[test]
fn users_of_a_candidate_without_endpoints_are_moved_back_and_said_so() {
    let service = service(0..1, 1..1, 10_000);
    let user = CookieId::new(7);
    let ask = Ask {
        user: Some(user.as_bytes()),
        ..Ask::default()
    };
    assert_eq!(chosen(&service, &ask), Some((1, 0, true)));
    assert_eq!(
        chosen(
            &service,
            &Ask {
                audience: true,
                ..Ask::default()
            }
        ),
        Some((1, 0, true))
    );
    assert_eq!(chosen(&service, &Ask::default()), Some((1, 0, false)));
}

#[test]
fn stable_traffic_goes_to_the_candidate_only_when_stable_has_no_endpoint_at_all() {
    assert_eq!(
        chosen(&service(0..0, 1..2, 0), &Ask::default()),
        Some((2, 1, false))
    );
    let ask = Ask {
        tried: &[Cell(0)],
        kept: Some(ReleaseId(1)),
        ..Ask::default()
    };
    assert_eq!(chosen(&service(0..1, 1..2, 0), &ask), None);
}

#[test]
fn nothing_is_chosen_when_nothing_is_ready() {
    assert_eq!(chosen(&service(0..0, 1..1, 5_000), &Ask::default()), None);
    let mut first = service(0..0, 0..0, 0);
    first.candidate = None;
    assert_eq!(chosen(&first, &Ask::default()), None);
}

#[test]
fn a_preview_never_leaves_its_release() {
    let ask = Ask {
        only: Some(ReleaseId(2)),
        ..Ask::default()
    };
    assert_eq!(chosen(&service(0..1, 1..2, 0), &ask), Some((2, 1, false)));
    assert_eq!(chosen(&service(0..1, 1..1, 0), &ask), None);
    let gone = Ask {
        only: Some(ReleaseId(3)),
        ..Ask::default()
    };
    assert_eq!(chosen(&service(0..1, 1..2, 0), &gone), None);
}

#[test]
fn a_repeated_request_stays_in_its_release_and_then_goes_to_the_old_one() {
    let service = service(0..2, 2..4, 0);
    let kept = Some(ReleaseId(2));
    for random in (0..50).map(mix) {
        let ask = Ask {
            kept,
            tried: &[Cell(2)],
            random,
            ..Ask::default()
        };
        assert_eq!(chosen(&service, &ask), Some((2, 3, false)));
        let ask = Ask {
            kept,
            tried: &[Cell(2), Cell(3)],
            random,
            ..Ask::default()
        };
        assert_eq!(chosen(&service, &ask).unwrap().0, 1);
        let ask = Ask {
            kept: Some(ReleaseId(1)),
            tried: &[Cell(0)],
            random,
            ..Ask::default()
        };
        assert_eq!(chosen(&service, &ask), Some((1, 1, false)));
    }
}

#[test]
fn a_user_stays_with_an_instance_until_it_leaves_and_only_its_users_move() {
    let mut before = service(0..5, 5..5, 0);
    before.stick_to_instance = true;
    let mut after = before.clone();
    after.stable.endpoints.remove(2);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..500 {
        let user = CookieId::new(number * 0x9e37_79b9_7f4a);
        let ask = |random| Ask {
            user: Some(user.as_bytes()),
            random,
            ..Ask::default()
        };
        let home = chosen(&before, &ask(1)).unwrap().1;
        assert_eq!(chosen(&before, &ask(mix(2))).unwrap().1, home);
        let later = chosen(&after, &ask(3)).unwrap().1;
        assert!(
            home == 2 || later == home,
            "user {number} moved from {home} to {later}"
        );
        seen.insert(home);
    }
    assert_eq!(seen.len(), 5);
}

proptest! {
    #[test]
    fn with_affinity_a_user_only_moves_forward_as_the_share_grows(id: u128, random: u64, a in 0_u16..=10_000, b in 0_u16..=10_000) {
        let user = CookieId::new(id);
        let ask = Ask { user: Some(user.as_bytes()), random, ..Ask::default() };
        let before = chosen(&service(0..2, 2..4, a.min(b)), &ask).unwrap().0;
        let after = chosen(&service(0..2, 2..4, a.max(b)), &ask).unwrap().0;
        prop_assert!(before <= after);
    }
}
