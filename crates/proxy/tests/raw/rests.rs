//! A thread that nobody is connected to.

use std::cell::Cell;
use std::time::{Duration, Instant};

use model::Revision;
use proxy::Settings;

use crate::world::{World, until};

/// The time of the thread's last tick, by its own clock.
fn beat(world: &World) -> u64 {
    let threads = world.ledger.overdue(Revision(u64::MAX));
    let mut serving = threads.iter().filter(|one| one.thread == 0);
    serving.next().unwrap().beat_micros
}

#[test]
fn a_thread_that_nobody_is_connected_to_seldom_wakes_and_who_connects_has_all_its_time() {
    let world = World::with_settings(Settings {
        head_timeout: Duration::from_secs(1),
        ..Settings::default()
    });
    for _ in 0..2 {
        let last = Cell::new(beat(&world));
        until("the thread rests", || {
            let next = beat(&world);
            next - last.replace(next) >= 900_000
        });
        let begun = Instant::now();
        world.client().rest();
        // Within a tick.
        assert!(begun.elapsed() >= Duration::from_millis(900));
    }
}
