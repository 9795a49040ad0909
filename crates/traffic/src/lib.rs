//! Routing as data: match a route, split, affinity, balance.
//!
//! The engine builds an immutable [`Table`], the proxy reads it. Nothing here
//! knows sockets, and nothing here changes a table once it is published.

mod affinity;
mod balance;
mod budget;
mod choose;
mod closed;
mod deadline;
pub mod grpc;
mod hash;
mod hedge;
mod index;
mod listed;
mod load;
mod outcome;
mod path;
mod repeat;
mod shadow;
mod standing;
mod table;

pub use affinity::{COOKIE, CookieId, is_in_share};
pub use budget::RetryBudget;
pub use choose::{Ask, Choice, Chosen, FullRelease, Side, choose};
pub use closed::Closed;
pub use deadline::{Deadlines, Late, grpc_timeout};
pub use hedge::Hedging;
pub use index::{Index, RouteMatch};
pub use load::Load;
pub use outcome::{Effect, Outcome, Phase, Rejected};
pub use repeat::{ATTEMPTS_MAX, BodyHeld, FailedAttempt, Progress};
pub use shadow::{Dropped, ShadowTable};
pub use standing::{Sign, Standings};
pub use table::{
    AudienceRule, Candidate, Cell, Endpoint, HostPattern, Listener, ListenerKind, Paused, Route,
    ServiceClosed, ServiceTable, Table, Wanted,
};
