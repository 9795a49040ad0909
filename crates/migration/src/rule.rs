//! What keeps versions in step: one function per table, run before each of its writes.
//!
//! A rule says what one column is, given the others. Rules of a migration point up (from what
//! older versions write) or down (from what it and newer versions write). A write by version k
//! goes down through the rules of every migration up to k, newest first, and up through those
//! of every later one, oldest first; so it reaches every version's columns, however many
//! migrations are in progress. A rule writes only when one of its sources changed, so that
//! saving a whole row again does not overwrite what the other version made of it. While the
//! migration is not published yet, its rules write whenever the function is called: nobody sees
//! their targets, and rows that move past the backfill are filled in on the way.
//!
//! Programs pay for it at every write, and what a transaction does first is dearest: a condition
//! of the trigger costs more than the function does, and each expression of the function is made
//! ready anew. So there are as few of both as can be.
//!
//! Where a rule that points up fails, the writer is not refused: the row is marked (`mark`). Where
//! one that points down fails, the writer is: it is a program of the new version, and the old
//! one's data must stay exact for as long as there may be a way back.

mod code;

use std::collections::BTreeSet;

use crate::mark::{self, Demand, Marking};
use crate::plan::Key;
use crate::schema::{Qualified, Table, TriggerEvent, TriggerFiring, TriggerLevel, TriggerTiming};
use crate::sql::{quote, shortened};
use crate::world::{Named, TRIGGER_PREFIX};

/// What one column of a row is, given the others.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The table in the catalogue.
    pub(crate) table: String,
    /// Whose writes it is for.
    pub(crate) direction: Direction,
    /// The column that is written, in the catalogue.
    pub(crate) target: String,
    /// Its value.
    pub(crate) expression: String,
    /// What the expression calls the table.
    pub(crate) alias: String,
    /// The columns that the expression reads.
    pub(crate) sources: Vec<Named>,
    /// Whether it has a value for every row.
    pub(crate) total: bool,
    /// The schemas by which it is to be resolved, if it names more than the row.
    pub(crate) search_path: Option<Vec<String>>,
}

/// Whose writes a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Those of versions before the migration.
    Up,
    /// Those of its own version and of later ones.
    Down,
}

/// The rules of one migration.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The number of the migration.
    pub(crate) serial: u32,
    /// The schema of its version.
    pub(crate) version: String,
    /// Whether programs may use it.
    pub(crate) published: bool,
    /// The rules in order.
    pub(crate) rules: Vec<Rule>,
    /// Whether rows that it has wrong can be marked.
    pub(crate) marking: Marking,
    /// What its version demands besides.
    pub(crate) demands: Vec<Demand>,
    /// What its backfills go over, by the table in the catalogue.
    pub(crate) keys: Vec<(String, Key)>,
}

impl Rules {
    fn on(&self, table: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.table == table)
    }

    /// What a backfill of this migration writes in `table`, now or later.
    fn filled(&self, table: &str) -> BTreeSet<&str> {
        let up = self.on(table).filter(|it| it.direction == Direction::Up);
        up.filter(|_| !self.published)
            .map(|rule| rule.target.as_str())
            .collect()
    }
}

/// The name of the trigger that runs the rules.
pub(crate) fn trigger_name() -> String {
    format!("{TRIGGER_PREFIX}_write")
}

/// The function that runs the rules of `table`.
pub(crate) fn function_name(base: &str, table: &str) -> Qualified {
    Qualified {
        schema: base.to_owned(),
        name: shortened(&format!("_gapless_write_{table}")),
    }
}

/// The statements that put the rules of `table` in force: those of all migrations in progress,
/// oldest first. None when there are no rules.
pub(crate) fn statements(base: &str, table: &str, facts: &Table, all: &[Rules]) -> Vec<String> {
    if all.iter().all(|migration| migration.on(table).count() == 0) {
        return Vec::new();
    }
    let function = function_name(base, table);
    let on = Qualified {
        schema: base.to_owned(),
        name: table.to_owned(),
    };
    let columns = update_columns(table, facts, all);
    let events = match &columns {
        Some(columns) if columns.is_empty() => "INSERT".to_owned(),
        Some(columns) => {
            let columns = crate::sql::name::quote_all(columns);
            format!("INSERT OR UPDATE OF {columns}")
        }
        None => "INSERT OR UPDATE".to_owned(),
    };
    let mut filled = all.iter().flat_map(|migration| migration.filled(table));
    let of_backfill = |column| columns.as_ref().is_none_or(|it| it.contains(column));
    let when = match filled.any(of_backfill) {
        true => " WHEN (COALESCE(current_setting('gapless.backfill', true), '') <> 'on')",
        false => "",
    };
    let trigger = quote(&trigger_name());
    let mut statements = vec![
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}",
            function.sql(),
            dollar_quoted(&code::body(base, table, facts, all)),
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {trigger} BEFORE {events} ON {} FOR EACH ROW{when} \
             EXECUTE FUNCTION {}()",
            on.sql(),
            function.sql(),
        ),
        format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}", on.sql()),
    ];
    statements.extend(mark::notes(base, (table, columns), facts, all));
    statements
}

/// The statements that take the rules of `table` out of force; harmless if there are none.
pub(crate) fn removal(base: &str, table: &str) -> Vec<String> {
    let on = Qualified {
        schema: base.to_owned(),
        name: table.to_owned(),
    };
    let mut statements = vec![
        format!(
            "DROP TRIGGER IF EXISTS {} ON {}",
            quote(&trigger_name()),
            on.sql()
        ),
        format!(
            "DROP FUNCTION IF EXISTS {}()",
            function_name(base, table).sql()
        ),
    ];
    statements.extend(mark::removal(base, table));
    statements
}

/// The columns whose update concerns a rule; `None`: every update may, because a trigger of
/// somebody else may change a source, or rows that are being filled in have no key.
fn update_columns(table: &str, facts: &Table, all: &[Rules]) -> Option<BTreeSet<String>> {
    let changes_rows = facts.triggers.values().any(|trigger| {
        trigger.timing == TriggerTiming::Before
            && trigger.level == TriggerLevel::Row
            && trigger.events.contains(&TriggerEvent::Update)
            && trigger.firing != TriggerFiring::Disabled
    });
    if changes_rows {
        return None;
    }
    let mut columns = BTreeSet::new();
    for migration in all {
        let filled = migration.filled(table);
        let demands = migration.demands_on(table).into_iter();
        let demanded = demands.flat_map(|(demand, _)| &demand.columns);
        // What only the backfill writes is no news.
        let demanded = demanded.filter(|column| !filled.contains(column.as_str()));
        columns.extend(demanded.cloned());
        let marked = migration.mark(table).is_some();
        for rule in migration.on(table) {
            if migration.published || rule.direction == Direction::Up {
                columns.extend(rule.sources.iter().map(|it| it.physical.clone()));
            }
            // Who writes a column that is wrong makes it right.
            if migration.published && marked {
                columns.insert(rule.target.clone());
            }
        }
        if !migration.published {
            columns.extend(passing(table, migration)?);
        }
    }
    Some(columns)
}

/// The columns by whose update a row may get past the backfill; `None`: by any.
fn passing(table: &str, migration: &Rules) -> Option<Vec<String>> {
    let mut passing = Vec::new();
    for (_, key) in migration.keys.iter().filter(|(of, _)| of == table) {
        match key {
            Key::Columns { columns, .. } => passing.extend(columns.iter().cloned()),
            Key::Ctid => return None,
        }
    }
    Some(passing)
}

/// A text between dollar signs whose tag does not occur in it.
pub(crate) fn dollar_quoted(text: &str) -> String {
    let mut tag = "$gapless$".to_owned();
    while text.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("{tag}{text}{tag}")
}
