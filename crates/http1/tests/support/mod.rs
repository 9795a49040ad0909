//! What several test binaries need: seeded messages, a second opinion, and the fuzzed checks.

pub(crate) mod checks;
pub(crate) mod message;
pub(crate) mod seed;
pub(crate) mod strict;
