//! A seeded world in which the shipped engine is run (development only).
//!
//! A schedule is one whole life in virtual time: services are deployed, people and faults
//! interfere, everything heals, and then the end is demanded. `check` holds the rules; it
//! judges by effects and by the world alone. One seed is one life: it replays exactly.
//! A failing life is made smaller by leaving out what it fails without.

mod act;
mod ask;
mod check;
mod disk;
mod lives;
mod plant;
mod policy;
mod process;
mod rng;
mod schedule;
mod shrink;
mod tally;
mod trace;
mod worker;
mod world;

pub use check::{Rule, Violation};
pub use lives::{Failure, Life, Options, Report, live, run};
pub use plant::Plant;
pub use schedule::Schedule;
pub use shrink::{Explained, explain};
pub use tally::Tally;
