//! The release-level decision: one pure step from state and observation to a target.
//!
//! A rollout thinks in releases only: how many replicas each should have, what share
//! of traffic the new one gets, which gate, job or check comes next. Instances,
//! endpoints and threads are `fleet`'s and the proxy's; on a cluster they are the
//! cluster's, and this room is the same.
//!
//! Begin with [`begin`], decide with [`step`] whenever something was seen or the time asked for
//! has come, and put a person's word in with [`order`].

mod check;
mod clock;
mod order;
mod phase;
mod preview;
mod state;
mod step;
mod strategy;
mod types;
mod view;

pub use check::check_plan;
pub use order::order;
pub use preview::{Preview, Stage, preview};
pub use state::{State, begin};
pub use step::step;
pub use types::{
    Capabilities, Comparison, Counts, Decision, Ended, JobState, Observation, Order, Peers, Plan,
    Refused, SchemaNeed, ShadowTarget, Target,
};
