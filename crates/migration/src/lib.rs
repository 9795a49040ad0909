//! Changes of a database's schema, planned so that old and new versions of a program are both
//! right all the time.

pub mod plan;
pub mod schema;
