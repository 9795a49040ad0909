//! Indexes of partitioned tables: the server refuses to build them concurrently, so each
//! partition gets its own, which are then attached.

use crate::ddl::{self, Build};
use crate::draft::{Draft, index_step};
use crate::plan::{Cost, LockLevel, Run, Step, TableLock};
use crate::schema::{Index, Qualified};
use crate::sql::shortened;
use crate::world::Known;

/// Builds an index on a partitioned table.
pub(crate) fn index(draft: &mut Draft, known: &Known, (name, it): (&str, &Index)) {
    let on = draft.world.qualified(&known.physical);
    let base = draft.world.base.clone();
    draft.publish.push(Step {
        title: format!(
            "declare the index `{name}` on `{}`, not on its partitions",
            known.physical
        ),
        statements: vec![ddl::index(name, &on, it, Build::Only)],
        run: Run::Together,
        locks: vec![TableLock {
            table: on.clone(),
            level: LockLevel::Share,
        }],
        cost: Cost::Instant,
        why: "ON ONLY: no partition is touched".to_owned(),
    });
    for child in &known.facts.children {
        let part = shortened(&format!("{name}_{}", child.name));
        draft.publish.push(index_step(&base, child, (&part, it)));
        draft.publish.push(attach(&base, child, (name, &part)));
    }
    let sql = draft.world.qualified(name).sql();
    draft.undo.push(Step {
        title: format!("drop the index `{name}` of `{}`", known.physical),
        statements: vec![format!("DROP INDEX IF EXISTS {sql}")],
        run: Run::Together,
        locks: vec![TableLock {
            table: on,
            level: LockLevel::AccessExclusive,
        }],
        cost: Cost::Instant,
        why: "the server drops a partitioned index in no other way".to_owned(),
    });
}

fn attach(base: &str, child: &Qualified, (name, part): (&str, &str)) -> Step {
    let of = |name: &str| {
        Qualified {
            schema: base.to_owned(),
            name: name.to_owned(),
        }
        .sql()
    };
    let own = Qualified {
        schema: child.schema.clone(),
        name: part.to_owned(),
    }
    .sql();
    Step {
        title: format!("attach `{part}` to `{name}`"),
        statements: vec![format!("ALTER INDEX {} ATTACH PARTITION {own}", of(name))],
        run: Run::Together,
        locks: vec![TableLock {
            table: child.clone(),
            level: LockLevel::AccessShare,
        }],
        cost: Cost::Instant,
        why: "compares definitions only; the index is valid with its last part".to_owned(),
    }
}
