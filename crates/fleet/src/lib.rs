//! Converges the instances of one service to wanted counts: start, health, drain, stop, back off.
//!
//! Level-triggered: [`Fleet::handle`] takes in what happened, [`Fleet::converge`] compares with
//! what is wanted and returns what to do. An instance is one life of one process; a fresh
//! process is a fresh instance.
//!
//! The life of an instance, in `life`:
//!
//! ```text
//! Ordered → Starting → Ready ⇄ Unhealthy → Draining → Stopping → gone, forgotten
//! ```
//!
//! `probe` says when its health is asked for, `drain` how it leaves, `backoff` when a release
//! that fails is started again, `choose` which instances are surplus or missing, `recover` how
//! the supervisor's view is believed, `wake` when time alone changes something.

mod backoff;
mod choose;
mod converge;
mod drain;
mod fleet;
mod life;
mod probe;
mod recover;
mod types;
mod wake;

pub use fleet::{Fleet, Policies};
pub use types::{
    Action, Child, Counts, Exit, FleetPolicy, Input, InstanceState, InstanceView, ProbeResult,
    Signal, SpawnError, Wanted,
};
