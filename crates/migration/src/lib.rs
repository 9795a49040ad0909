//! Changes of a database's schema, planned so that old and new versions of a program are both
//! right all the time.
//!
//! [`read`] makes a [`Migration`] of a file; [`plan`](plan()), [`contract`] and [`abort`] make
//! steps of it, given the schema and the migrations that are in progress. A runner needs to know
//! only the [`plan`](mod@plan).

mod again;
mod backfill;
mod column;
mod ddl;
mod draft;
mod file;
mod mark;
pub mod op;
mod partition;
pub mod plan;
mod planner;
mod rule;
pub mod schema;
mod shadow;
mod sql;
mod swap;
mod views;
mod world;

pub use file::{Choice, Migration, Placed, Text, is_file_name, read};
pub use planner::{Database, Open, abort, contract, plan};
