//! How many connections each client address has, over all threads.
//!
//! No lock and no memory per client: two rows of counters, each client in one of each row by
//! different keyed hashes. A client's own number is at most the smaller of its two, so that
//! another one can be taken for it only where it meets crowds in both rows.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Counters in a row.
const WIDTH: usize = 16 * 1024;

/// The counters of all addresses.
#[derive(Debug)]
pub(crate) struct Crowds {
    rows: [Box<[AtomicU32]>; 2],
    keys: [RandomState; 2],
}

impl Default for Crowds {
    fn default() -> Self {
        let row = || (0..WIDTH).map(|_| AtomicU32::new(0)).collect();
        Self {
            rows: [row(), row()],
            keys: [RandomState::new(), RandomState::new()],
        }
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    crowds: Arc<Crowds>,
    places: [u16; 2],
}

impl Crowds {
    /// Counts a connection of `address`, unless it has `most` already.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Counted> {
        let client = client(address);
        let place = |key: &RandomState| (key.hash_one(client) % WIDTH as u64) as u16;
        let counted = Counted {
            crowds: Arc::clone(self),
            places: [place(&self.keys[0]), place(&self.keys[1])],
        };
        let before = counted
            .counters()
            .map(|counter| counter.fetch_add(1, Relaxed));
        let others = before.into_iter().min().unwrap_or(0);
        (others < most).then_some(counted)
    }
}

impl Counted {
    fn counters(&self) -> [&AtomicU32; 2] {
        let [first, second] = &self.crowds.rows;
        [
            &first[usize::from(self.places[0])],
            &second[usize::from(self.places[1])],
        ]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for counter in self.counters() {
            counter.fetch_sub(1, Relaxed);
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, all of which
/// whoever has one address of it mostly has.
fn client(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (1 << 63),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_others_are_not_touched() {
        let crowds = Arc::new(Crowds::default());
        let count = |address: &str| crowds.count(address.parse().unwrap(), 2);
        let (first, second) = (count("192.0.2.1").unwrap(), count("192.0.2.1").unwrap());
        assert!(count("192.0.2.1").is_none());
        assert!(count("::ffff:192.0.2.1").is_none(), "the same client");
        assert!(count("192.0.2.2").is_some());
        drop(first);
        let third = count("192.0.2.1").unwrap();
        assert!(
            count("192.0.2.1").is_none(),
            "who was turned away is not counted"
        );
        drop((second, third));
        assert!(
            crowds
                .rows
                .iter()
                .flatten()
                .all(|counter| counter.load(Relaxed) == 0)
        );
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let crowds = Arc::new(Crowds::default());
        let count = |address: &str| crowds.count(address.parse().unwrap(), 1);
        let _first = count("2001:db8:1:2::1").unwrap();
        assert!(count("2001:db8:1:2:ffff::9").is_none());
        assert!(count("2001:db8:1:3::1").is_some());
    }
}
