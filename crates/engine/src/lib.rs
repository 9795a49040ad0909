//! The whole loop as `poll(event, now) -> effects`: observe, step, journal, act, supersede,
//! lockstep, recover.
//!
//! The engine owns every service's rollout, fleet and routing. It is told what happened and
//! answers with what to do, in order. Nothing in here waits, reads a clock or touches the world,
//! so the simulator runs exactly what ships.
//!
//! A batch of effects is carried out in order. When it begins with a journal entry, the answer
//! to that entry ([`Event::Journaled`] or [`Event::JournalFailed`]) is the next event that the
//! engine is given.
//!
//! What happened (events) is taken in at once and never undone. What is decided is undone when
//! it cannot be journaled, unless all of it only moves traffic back or keeps up what runs.

mod advance;
mod batch;
mod command;
mod effect;
mod engine;
mod event;
mod intake;
mod journal;
mod maintenance;
mod pause;
mod place;
mod recover;
mod schema;
mod state;
mod status;
mod table;
mod turn;
mod view;

pub use effect::{Effect, IfRefused, OldWindow, Spawn};
pub use engine::{Engine, Place};
pub use event::{Event, NotContracted, Removed};
pub use recover::RecoverError;
pub use status::{
    ClosedStatus, ContractStatus, DatabaseStatus, EndedStatus, InstanceStatus, PauseStatus,
    QueuedStatus, ReleaseStatus, RolloutStatus, ServiceStatus, Status, VersionStatus,
};
