use std::collections::BTreeMap;
use std::time::Duration;

use model::{Delivery, Ejection, HashKey, InstanceId, ReleaseId, ServiceName};
use proptest::prelude::*;

use super::*;
use crate::standing::Sign;
use crate::table::{Candidate, Cell, Table};

const ALL: [Balancing; 5] = [
    Balancing::P2c,
    Balancing::RoundRobin,
    Balancing::LeastRequests,
    Balancing::PeakEwma,
    Balancing::Hash(HashKey::Client),
];
const SECOND: u64 = 1_000_000;

fn service(count: u32, balance: Balancing) -> ServiceTable {
    let name = ServiceName::try_new("web").unwrap();
    let endpoint = |cell: u32| Endpoint {
        instance: InstanceId {
            service: name.clone(),
            release: ReleaseId(1),
            serial: cell,
        },
        address: ([127, 0, 0, 1], 9_000 + cell as u16).into(),
        protocol: model::Protocol::Http1,
        cell: Cell(cell),
        weight: None,
    };
    let stable = Candidate {
        release: ReleaseId(1),
        endpoints: (0..count).map(endpoint).collect(),
        tls: None,
    };
    ServiceTable {
        delivery: Delivery {
            balance,
            slow_start: Duration::from_secs(10),
            ejection: Some(Ejection {
                failures: 3,
                lasts: Duration::from_secs(10),
                max_share: Share::try_new(5_000).unwrap(),
                panic_share: Share::try_new(5_000).unwrap(),
            }),
            ..Delivery::default()
        },
        ..ServiceTable::serving(name.clone(), Cell(0), stable)
    }
}

fn followed(tables: &[&ServiceTable]) -> Standings {
    let mut standings = Standings::default();
    for (at, service) in tables.iter().enumerate() {
        let table = Table {
            services: vec![(*service).clone()],
            ..Table::default()
        };
        standings.follow(&table, (at as u64 + 1) * SECOND);
    }
    standings
}

fn picked(
    service: &ServiceTable,
    ask: &Ask<'_>,
    standings: &mut Standings,
    open: impl Fn(Cell) -> u32,
) -> Option<u32> {
    let balancer = Balancer {
        service,
        endpoints: &service.stable.endpoints,
        ask,
        load: &open,
    };
    balancer.pick(standings).map(|endpoint| endpoint.cell.0)
}

/// How often each endpoint is picked by 8000 requests that end at once.
fn spread(
    service: &ServiceTable,
    standings: &mut Standings,
    now_micros: u64,
) -> BTreeMap<u32, u32> {
    let mut seen = BTreeMap::new();
    for random in (0..8_000).map(mix) {
        let key = random.to_le_bytes();
        let ask = Ask {
            random,
            hash: Some(&key),
            now_micros,
            ..Ask::default()
        };
        *seen
            .entry(picked(service, &ask, standings, |_| 0).unwrap())
            .or_default() += 1;
    }
    seen
}

fn eject(service: &ServiceTable, standings: &mut Standings, cell: u32, now: u64) -> bool {
    let ejection = service.delivery.ejection.as_ref().unwrap();
    standings.eject(Cell(cell), (&service.stable.endpoints, ejection), now)
}

#[test]
fn every_balance_spreads_idle_endpoints_evenly() {
    for balance in ALL {
        let service = service(4, balance);
        let seen = spread(&service, &mut followed(&[&service]), SECOND);
        // Five standard deviations: sqrt(8000 * 0.25 * 0.75) = 39.
        let even = |count: &u32| count.abs_diff(2_000) < 195;
        assert!(
            seen.len() == 4 && seen.values().all(even),
            "{:?} {seen:?}",
            service.delivery.balance
        );
    }
}

#[test]
fn a_loaded_endpoint_is_avoided_by_all_that_look_at_load() {
    for balance in [
        Balancing::P2c,
        Balancing::LeastRequests,
        Balancing::PeakEwma,
    ] {
        let service = service(2, balance);
        let mut standings = followed(&[&service]);
        for random in (0..100).map(mix) {
            let ask = Ask {
                random,
                ..Ask::default()
            };
            let open = |cell: Cell| if cell == Cell(0) { 5 } else { 4 };
            assert_eq!(picked(&service, &ask, &mut standings, open), Some(1));
        }
    }
}

#[test]
fn the_slow_one_is_avoided_until_its_peak_is_forgotten() {
    let service = service(2, Balancing::PeakEwma);
    let mut standings = followed(&[&service]);
    standings.measure(Cell(0), 1_000, SECOND);
    standings.measure(Cell(1), 900_000, SECOND);
    let at = |standings: &mut Standings, now_micros, open: u32| {
        let ask = Ask {
            now_micros,
            ..Ask::default()
        };
        picked(&service, &ask, standings, |cell| {
            if cell == Cell(0) { open } else { 0 }
        })
    };
    assert_eq!(at(&mut standings, SECOND, 100), Some(0));
    assert_eq!(at(&mut standings, SECOND, 1_000), Some(1));
    // The quick one is measured on, the other one is not.
    standings.measure(Cell(0), 1_000, 3_000 * SECOND);
    assert_eq!(at(&mut standings, 3_000 * SECOND, 10), Some(1));
}

#[test]
fn round_robin_takes_them_in_turn() {
    let service = service(3, Balancing::RoundRobin);
    let mut standings = followed(&[&service]);
    let mut next = |random| {
        let ask = Ask {
            random,
            ..Ask::default()
        };
        picked(&service, &ask, &mut standings, |_| 0).unwrap()
    };
    let turns: Vec<u32> = (0..6).map(|random| next(mix(random))).collect();
    assert_eq!(turns, [1, 2, 0, 1, 2, 0]);
}

#[test]
fn a_key_stays_and_only_the_keys_of_one_that_leaves_move() {
    let before = service(5, Balancing::Hash(HashKey::Client));
    let mut after = before.clone();
    after.stable.endpoints.remove(2);
    let (mut first, mut second) = (followed(&[&before]), followed(&[&after]));
    for key in 0..500_u32 {
        let key = key.to_le_bytes();
        let ask = Ask {
            hash: Some(&key),
            now_micros: SECOND,
            ..Ask::default()
        };
        let home = picked(&before, &ask, &mut first, |_| 0).unwrap();
        let later = picked(&after, &ask, &mut second, |_| 0).unwrap();
        assert!(home == 2 || later == home, "moved from {home} to {later}");
    }
}

#[test]
fn new_endpoints_get_more_from_tenth_to_all_but_a_sole_one_all_at_once() {
    let (one, two) = (service(1, Balancing::P2c), service(2, Balancing::P2c));
    for balance in ALL {
        let two = service(2, balance);
        let mut standings = followed(&[&one, &two]);
        // It came at 2 s, and is one of two: a tenth, then 55 %, then all of its half.
        let mut at = |now| {
            spread(&two, &mut standings, now)
                .get(&1)
                .copied()
                .unwrap_or(0)
        };
        let (first, middle, last) = (at(2 * SECOND), at(7 * SECOND), at(12 * SECOND));
        assert!(
            (250..900).contains(&first),
            "{:?} {first}",
            two.delivery.balance
        );
        assert!(first < middle && middle < last, "{first} {middle} {last}");
        assert!(last.abs_diff(4_000) < 225, "{last}");
    }
    let mut gone = two.clone();
    gone.stable.endpoints.remove(0);
    let mut standings = followed(&[&one, &gone]);
    assert_eq!(
        spread(&gone, &mut standings, 2 * SECOND),
        BTreeMap::from([(1, 8_000)])
    );
}

#[test]
fn the_first_table_has_no_new_endpoints() {
    let service = service(2, Balancing::P2c);
    let standings = followed(&[&service]);
    assert_eq!(
        standings.ramp(Cell(1), &service.delivery, SECOND),
        Share::ALL
    );
}

#[test]
fn an_ejected_endpoint_comes_back_after_longer_each_time() {
    let service = service(4, Balancing::P2c);
    let mut standings = followed(&[&service]);
    let mut now = 100 * SECOND;
    for times in 1..4 {
        assert!(eject(&service, &mut standings, 1, now));
        let lasts = times * 10 * SECOND;
        assert_eq!(
            spread(&service, &mut standings, now + lasts - 1).get(&1),
            None
        );
        now += lasts;
        assert!(spread(&service, &mut standings, now).contains_key(&1));
    }
    // It was good for as long as ejections are remembered.
    now += 60 * SECOND;
    assert!(eject(&service, &mut standings, 1, now));
    assert!(spread(&service, &mut standings, now + 10 * SECOND).contains_key(&1));
}

#[test]
fn ejections_are_capped_and_a_sole_endpoint_is_never_ejected() {
    let sole = service(1, Balancing::P2c);
    assert!(!eject(&sole, &mut followed(&[&sole]), 0, SECOND));
    let service = service(5, Balancing::P2c);
    let mut standings = followed(&[&service]);
    let ejected = (0..5).filter(|&cell| eject(&service, &mut standings, cell, SECOND));
    assert_eq!(ejected.count(), 2);
}

#[test]
fn when_too_many_are_ejected_all_are_used() {
    let mut service = service(4, Balancing::P2c);
    let ejection = service.delivery.ejection.as_mut().unwrap();
    ejection.max_share = Share::ALL;
    let mut standings = followed(&[&service]);
    assert!(eject(&service, &mut standings, 0, SECOND));
    assert!(eject(&service, &mut standings, 1, SECOND));
    assert_eq!(spread(&service, &mut standings, SECOND).len(), 2);
    assert!(eject(&service, &mut standings, 2, SECOND));
    assert_eq!(spread(&service, &mut standings, SECOND).len(), 4);
}

#[test]
fn only_failures_in_a_row_count() {
    let mut standings = Standings::default();
    let signs = [Sign::Bad, Sign::Bad, Sign::Good, Sign::Bad];
    let rows = signs.map(|sign| standings.note(Cell(3), sign));
    assert_eq!(rows, [1, 2, 0, 1]);
}

#[test]
fn power_of_two_choices_keeps_the_load_flat() {
    let service = service(10, Balancing::P2c);
    let mut standings = followed(&[&service]);
    let mut open = [0_u32; 10];
    for random in (0..10_000).map(mix) {
        let ask = Ask {
            random,
            ..Ask::default()
        };
        let at = picked(&service, &ask, &mut standings, |cell| open[cell.0 as usize]).unwrap();
        open[at as usize] += 1;
    }
    let (least, most) = (open.iter().min().unwrap(), open.iter().max().unwrap());
    assert!(most - least <= 8, "{open:?}");
}

proptest! {
    #[test]
    fn a_pick_is_one_that_was_not_tried_whatever_else_holds(
        count in 0_u32..12,
        tried in prop::collection::vec(0_u32..12, 0..4),
        ejected in prop::collection::vec(0_u32..12, 0..12),
        (balance, random, is_new) in (0_usize..5, any::<u64>(), any::<bool>()),
    ) {
        let service = service(count, ALL[balance].clone());
        let empty = ServiceTable { stable: Candidate { endpoints: Vec::new(), ..service.stable.clone() }, ..service.clone() };
        let mut standings = if is_new { followed(&[&empty, &service]) } else { followed(&[&service]) };
        for cell in ejected.into_iter().filter(|&cell| cell < count) {
            eject(&service, &mut standings, cell, 2 * SECOND);
        }
        let tried: Vec<Cell> = tried.into_iter().map(Cell).collect();
        let key = random.to_le_bytes();
        let ask = Ask { random, tried: &tried, hash: Some(&key), now_micros: 2 * SECOND, ..Ask::default() };
        let left = (0..count).any(|cell| !tried.contains(&Cell(cell)));
        let picked = picked(&service, &ask, &mut standings, |cell| cell.0 % 3);
        prop_assert_eq!(picked.is_some(), left);
        prop_assert!(picked.is_none_or(|cell| !tried.contains(&Cell(cell))));
    }

    #[test]
    fn by_hash_no_endpoint_has_far_more_than_its_part(
        count in 1_u32..10,
        keys in prop::collection::vec(0_u8..4, 1..300),
    ) {
        let service = service(count, Balancing::Hash(HashKey::Client));
        let mut standings = followed(&[&service]);
        let mut open = vec![0_u32; count as usize];
        for (at, key) in keys.iter().enumerate() {
            let key = [*key];
            let ask = Ask { hash: Some(&key), now_micros: SECOND, ..Ask::default() };
            let cell = picked(&service, &ask, &mut standings, |cell| open[cell.0 as usize]);
            open[cell.unwrap() as usize] += 1;
            let bound = ((at as u64 + 1) * BOUND_PERCENT).div_ceil(100 * u64::from(count));
            prop_assert!(open.iter().all(|&one| u64::from(one) <= bound), "{:?} above {}", open, bound);
        }
    }
}

/// A service whose endpoints have these weights.
fn weighed(weights: &[u8], balance: Balancing) -> ServiceTable {
    let mut service = service(weights.len() as u32, balance);
    for (endpoint, &weight) in service.stable.endpoints.iter_mut().zip(weights) {
        endpoint.weight = Some(model::Weight::try_new(weight).unwrap());
    }
    service
}

/// True if a count out of 8000 is as its weight says, within six standard deviations.
fn is_share(count: u32, (weight, whole): (u8, u32)) -> bool {
    let share = f64::from(weight) / f64::from(whole);
    let deviation = (8_000.0 * share * (1.0 - share)).sqrt();
    (f64::from(count) - 8_000.0 * share).abs() <= 6.0 * deviation + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn idle_endpoints_share_as_they_weigh(
        weights in proptest::collection::vec(1_u8..=100, 1..6),
        balance in proptest::sample::select(&ALL[..]),
        is_measured: bool,
    ) {
        let service = weighed(&weights, balance.clone());
        let mut standings = followed(&[&service]);
        if is_measured {
            (0..weights.len() as u32).for_each(|cell| standings.measure(Cell(cell), 2_000, SECOND));
        }
        let seen = spread(&service, &mut standings, SECOND);
        let whole = weights.iter().copied().map(u32::from).sum();
        for (cell, &weight) in (0..).zip(&weights) {
            let count = seen.get(&cell).copied().unwrap_or(0);
            prop_assert!(is_share(count, (weight, whole)), "{balance:?} {weights:?} {seen:?}");
        }
    }

    #[test]
    fn what_stays_open_is_shared_as_endpoints_weigh(
        weights in proptest::collection::vec(1_u8..=20, 2..6),
        balance in proptest::sample::select(&[Balancing::LeastRequests, Balancing::P2c, Balancing::PeakEwma][..]),
    ) {
        let service = weighed(&weights, balance.clone());
        let mut standings = followed(&[&service]);
        let mut open = vec![0_u32; weights.len()];
        let whole: u32 = weights.iter().copied().map(u32::from).sum();
        for random in (0..u64::from(whole) * 40).map(mix) {
            let ask = Ask { random, ..Ask::default() };
            let cell = picked(&service, &ask, &mut standings, |cell| open[cell.0 as usize]).unwrap();
            open[cell as usize] += 1;
        }
        for (&open, &weight) in open.iter().zip(&weights) {
            let part = u32::from(weight) * 40;
            let slack = if balance == Balancing::LeastRequests { u32::from(weight) } else { part / 4 + 8 };
            prop_assert!(open.abs_diff(part) <= slack, "{balance:?} {weights:?} {open} of {part}");
        }
    }

    #[test]
    fn a_round_gives_each_endpoint_exactly_its_weight(weights in proptest::collection::vec(1_u8..=100, 2..8)) {
        let service = weighed(&weights, Balancing::RoundRobin);
        let mut standings = followed(&[&service]);
        let whole: u32 = weights.iter().copied().map(u32::from).sum();
        let mut seen = vec![0_u8; weights.len()];
        for _ in 0..whole {
            let cell = picked(&service, &Ask::default(), &mut standings, |_| 0).unwrap();
            seen[cell as usize] += 1;
        }
        prop_assert_eq!(seen, weights);
    }

    #[test]
    fn a_grown_weight_moves_keys_to_its_endpoint_and_nowhere_else(
        weights in proptest::collection::vec(1_u8..=99, 2..6),
        keys in proptest::collection::vec(any::<u64>(), 50),
    ) {
        let before = weighed(&weights, Balancing::Hash(HashKey::Client));
        let mut grown = weights.clone();
        grown[0] += 1;
        let after = weighed(&grown, Balancing::Hash(HashKey::Client));
        let mut standings = followed(&[&before]);
        for key in keys.iter().map(|key| key.to_le_bytes()) {
            let ask = Ask { hash: Some(&key), ..Ask::default() };
            let was = picked(&before, &ask, &mut standings, |_| 0);
            let is = picked(&after, &ask, &mut standings, |_| 0);
            prop_assert!(is == was || is == Some(0), "{was:?} {is:?}");
        }
    }

    #[test]
    fn the_lightest_of_all_gets_some_whatever_the_others_weigh(balance in proptest::sample::select(&ALL[..])) {
        let service = weighed(&[100, 1], balance.clone());
        let seen = spread(&service, &mut followed(&[&service]), SECOND);
        prop_assert!(seen.contains_key(&1), "{balance:?} {seen:?}");
    }
}
