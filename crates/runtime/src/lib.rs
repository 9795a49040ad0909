//! Runs instances: the [`Driver`] trait, the process driver, probes and logs.
//!
//! A driver starts, signals, lists and forgets instances by key; it decides
//! nothing. A new driver is one file here and must pass the conformance test
//! in `tests/`.

pub mod artifact;
mod driver;
pub mod logs;
pub mod ports;
pub mod probe;
pub mod process;
mod user;

pub use driver::{
    Driver, DriverError, DriverEvent, Instance, InstanceState, LogPipes, LogStream, PROBE_KEYS,
    Pending, PortOwner, StartSpec,
};
pub use supervisor::{
    Enforced, Enforcement, ExitStatus, Identity, Key, KeyError, Limits, Resource, ResourceLimit,
    Signal,
};
pub use user::{UserError, user};
