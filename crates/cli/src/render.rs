//! Plain text for people; every function is a pure one of what it shows.

mod certificates;
pub(crate) mod plan;
pub(crate) mod receipt;
pub(crate) mod shadow;
pub(crate) mod status;
pub(crate) mod why;
