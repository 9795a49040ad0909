//! What the room does to a real PostgreSQL; a database for each test.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod read;
mod stand;
