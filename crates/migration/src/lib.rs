//! Changes of a database's schema, planned so that old and new versions of a program are both
//! right all the time.

mod file;
pub mod op;
pub mod plan;
pub mod schema;

pub use file::{Choice, Migration, Placed, Text, read};
