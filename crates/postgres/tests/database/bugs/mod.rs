//! What went wrong in others' tools, one test for each report of it: here it must not.
//!
//! Names begin with the tool and the number of its report; what has none begins with the tool.

mod columns;
mod constraints;
mod ends;
mod roles;
mod start;

use crate::plans::{Stage, stage};

/// Three thousand users, and what programs of the version before do all the time.
const USERS: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, age int);
    INSERT INTO users SELECT n, 'u' || n, n FROM generate_series(1, 3000) n";

/// Names in capitals; in the version before they are small letters.
const CAPITALS: &str = "operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}
";

/// A database with those users.
async fn users() -> Option<Stage> {
    let mut stage = stage().await?;
    stage.tell(None, USERS).await;
    Some(stage)
}
