//! Runs migration plans on PostgreSQL.
//!
//! What a plan holds is decided in `migration`; here it is done to a database that programs use
//! meanwhile: nobody waits longer than the lock timeout because of us, and whatever ends the
//! process, the next one carries on from what the database says was done.

mod backfill;
mod change;
mod connection;
mod error;
mod event;
mod lock;
mod login;
mod look;
mod name;
mod owner;
mod pool;
pub mod read;
mod run;
mod settings;
mod state;
mod tls;
mod unconverted;
mod url;

pub use change::plan;
pub use connection::Connection;
pub use error::DatabaseError;
pub use event::{Blocker, Event, Observer, Progress};
pub use login::Login;
pub use look::{Look, look};
pub use owner::Owner;
pub use run::{BlockedSession, Runner, blocked};
pub use settings::{Consent, Settings, Wish};
pub use state::{Change, Entry, Kind, Phase, history, phases};
pub use unconverted::{Unconverted, unconverted};
pub use url::{Encryption, Url};
