//! Endpoints that have all that they may be given.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Balancing, EndpointLimits, HashKey, Queue};

use super::tests::service;
use super::*;

/// What each endpoint has: requests and connections.
struct Seen(BTreeMap<u32, (u32, u32)>);

impl Load for Seen {
    fn open(&self, cell: Cell) -> u32 {
        self.0.get(&cell.0).map_or(0, |seen| seen.0)
    }

    fn connections(&self, cell: Cell) -> u32 {
        self.0.get(&cell.0).map_or(0, |seen| seen.1)
    }
}

fn limited(service: ServiceTable) -> ServiceTable {
    let mut service = service;
    service.delivery.limits = Some(EndpointLimits {
        connections_max: Some(4),
        requests_max: Some(2),
        queue: Queue {
            length_max: 10,
            wait: Duration::from_secs(1),
        },
    });
    service
}

fn at<const N: usize>(seen: [(u32, (u32, u32)); N]) -> Seen {
    Seen(BTreeMap::from(seen))
}

fn found(service: &ServiceTable, ask: &Ask<'_>, seen: &Seen) -> Result<u32, Option<Side>> {
    match choose(service, ask, &mut Standings::default(), seen) {
        Chosen::At(choice) => Ok(choice.endpoint.cell.0),
        Chosen::Full(full) => Err(Some(full.side)),
        Chosen::Nobody => Err(None),
    }
}

#[test]
fn a_full_endpoint_is_never_chosen_whatever_the_balance() {
    let seen = at([(0, (2, 0)), (1, (0, 4)), (2, (1, 3))]);
    for balance in [
        Balancing::P2c,
        Balancing::RoundRobin,
        Balancing::LeastRequests,
        Balancing::PeakEwma,
        Balancing::Hash(HashKey::Client),
    ] {
        let mut service = limited(service(0..3, 3..3, 0));
        service.delivery.balance = balance;
        for random in 0..200_u64 {
            let key = random.to_le_bytes();
            let ask = Ask {
                random,
                hash: Some(&key),
                ..Ask::default()
            };
            assert_eq!(found(&service, &ask, &seen), Ok(2));
        }
    }
}

#[test]
fn where_all_are_full_a_request_waits_and_where_none_is_left_it_does_not() {
    let service = limited(service(0..2, 2..2, 0));
    let seen = at([(0, (2, 0)), (1, (5, 0))]);
    let ask = Ask::default();
    assert_eq!(found(&service, &ask, &seen), Err(Some(Side::Stable)));
    let tried = [Cell(0), Cell(1)];
    let again = Ask {
        tried: &tried,
        ..ask
    };
    assert_eq!(found(&service, &again, &seen), Err(None));
    let unlimited = super::tests::service(0..2, 2..2, 0);
    assert!(found(&unlimited, &ask, &seen).is_ok());
}

#[test]
fn the_candidates_share_never_grows_because_the_stable_release_is_full() {
    let service = limited(service(0..1, 1..2, 0));
    let seen = at([(0, (2, 0))]);
    for random in 0..100 {
        let ask = Ask {
            random,
            ..Ask::default()
        };
        assert_eq!(found(&service, &ask, &seen), Err(Some(Side::Stable)));
    }
}

#[test]
fn who_is_on_the_candidate_by_chance_need_not_wait_for_it_and_who_belongs_there_does() {
    let service = limited(service(0..1, 1..2, 10_000));
    let seen = at([(1, (2, 0))]);
    let by_chance = Ask::default();
    assert_eq!(found(&service, &by_chance, &seen), Ok(0));
    let by_rule = Ask {
        audience: true,
        ..by_chance
    };
    let full = Err(Some(Side::Candidate));
    assert_eq!(found(&service, &by_rule, &seen), full);
    let both = at([(0, (2, 0)), (1, (2, 0))]);
    assert_eq!(found(&service, &by_chance, &both), full);
}

#[test]
fn a_users_session_is_waited_for() {
    let mut service = limited(service(0..2, 2..2, 0));
    service.stick_to_instance = true;
    let ask = Ask {
        user: Some(b"ann"),
        ..Ask::default()
    };
    let home = found(&service, &ask, &at([])).unwrap();
    let seen = at([(home, (2, 0))]);
    assert_eq!(found(&service, &ask, &seen), Err(Some(Side::Stable)));
}
