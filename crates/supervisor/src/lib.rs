//! The small parent process and its protocol with the worker.
//!
//! The supervisor owns what must outlive a worker: listening sockets, the
//! processes of instances, their log pipes and the memory that counts open
//! requests. It is one thread around one `poll`, never reads what a user
//! wrote, and answers a few requests of fixed layout. A worker may be killed
//! at any moment; the next one asks for the same things and gets them.

mod activation;
mod answer;
mod cgroup;
mod channel;
mod child;
pub mod client;
mod config;
mod group;
mod handover;
mod identity;
mod leftovers;
mod listener;
mod notify;
mod owner;
mod pipe;
mod proc;
mod protocol;
mod server;
mod spec;
mod state;
mod sys;
mod upgrade;
mod wire;
mod worker;

pub use config::{ExitReason, Identity, RootInstances, SupervisorConfig, SupervisorError};
pub use leftovers::{leftovers, signal_leftovers};
pub use protocol::{
    ChildInfo, ChildState, Enforced, Enforcement, Event, ExitStatus, Leftover, LeftoverKind,
    PROTOCOL_OLDEST, PROTOCOL_VERSION, PortOwner, Refusal, Scope, UpgradeOutcome, WorkerInfo,
};
pub use rustix::process::Signal;
pub use server::{handed_over, run};
pub use spec::{Key, KeyError, Limits, Output, Resource, ResourceLimit, SpawnSpec};
pub use state::server_of;
pub use wire::WireError;
