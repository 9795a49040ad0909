//! Rows that a write of an older version left wrong for a newer one.
//!
//! What an older program writes is never refused for the sake of a version that it does not
//! know. Where `up` fails, or what the new version demands does not hold, the row keeps what the
//! new column had (NULL in a new row) and gets a mark: in a hidden column, by the column that is
//! wrong, with the reason. The mark goes when a write of either version makes the column right.
//! Marked rows are noted by their keys in `gapless.unconverted` too, so that nobody has to read
//! a table to know of them; the table's owner does that for whoever writes.

use std::collections::BTreeSet;

use crate::backfill;
use crate::column;
use crate::draft::Draft;
use crate::plan::Key;
use crate::rule::{Direction, Rule, Rules, dollar_quoted};
use crate::schema::{Column, Qualified, Schema, Table};
use crate::sql::name::{PREFIX, quote_all};
use crate::sql::{literal, quote, shortened, tokens};
use crate::world::{Known, TRIGGER_PREFIX, physical};

/// So many rows of a table are noted by their keys; then one more says that there may be others.
const NOTED_MAX: u32 = 1_000;

/// What a version demands of a row, looked at before the server would refuse it.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// The table in the catalogue.
    pub(crate) table: String,
    /// The columns that it reads, in the catalogue.
    pub(crate) columns: Vec<String>,
    /// SQL over them.
    pub(crate) condition: String,
    /// What is said where it is false.
    pub(crate) reason: String,
}

/// Whether rows that a migration has wrong can be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marking {
    /// They have a column for it, or will.
    Marked,
    /// It was begun by a Gapless that knew no marks: writers are refused, as they were then.
    Unknown,
}

impl Marking {
    /// What `schema` says of the migration `serial`.
    pub(crate) fn of(schema: &Schema, serial: u32) -> Self {
        let (mark, begun) = (name(serial), format!("{PREFIX}{serial}_"));
        let mut columns = schema.tables.values().flat_map(|table| &table.columns);
        let known = columns.clone().any(|column| column.name == mark);
        match known || !columns.any(|column| column.name.starts_with(&begun)) {
            true => Self::Marked,
            false => Self::Unknown,
        }
    }
}

/// The hidden column that marks rows which the migration `serial` has wrong.
pub(crate) fn name(serial: u32) -> String {
    format!("{PREFIX}{serial}_unconverted")
}

impl Rules {
    /// The hidden column for `table`, if a write of an older version can leave a row wrong.
    pub(crate) fn mark(&self, table: &str) -> Option<String> {
        let up = |rule: &&Rule| rule.table == table && rule.direction == Direction::Up;
        let mut rules = self.rules.iter().filter(up);
        let may = rules.any(|rule| !rule.total || self.demands_of(rule).next().is_some());
        (may && self.marking == Marking::Marked).then(|| name(self.serial))
    }

    fn demands_of(&self, rule: &Rule) -> impl Iterator<Item = &Demand> {
        let (table, target) = (rule.table.clone(), rule.target.clone());
        self.demands
            .iter()
            .filter(move |it| it.table == table && it.columns.contains(&target))
    }

    /// What is demanded of columns of `table` that are made from older ones.
    pub(crate) fn demands_on(&self, table: &str) -> Vec<(&Demand, Vec<&str>)> {
        let on = self.demands.iter().filter(|it| it.table == table);
        let with = on.map(|it| {
            let up = |rule: &&Rule| rule.table == table && rule.direction == Direction::Up;
            let made = self.rules.iter().filter(up).map(|it| it.target.as_str());
            let targets: Vec<&str> = made
                .filter(|target| it.columns.iter().any(|column| column == target))
                .collect();
            (it, targets)
        });
        with.filter(|(_, targets)| !targets.is_empty()).collect()
    }
}

/// Whether `expression` has a value of the type for every row: a column as it is, or one whose
/// type lies within the other.
pub(crate) fn is_total(known: &Known, expression: &str, target: &Column) -> bool {
    let all = tokens(expression);
    let [only] = all.as_slice() else {
        return false;
    };
    let source = only.name().and_then(|name| physical(&known.columns, name));
    let source = source.and_then(|name| known.facts.column(name));
    source.is_some_and(|source| lies_within(&source.data_type, &target.data_type))
}

fn lies_within(source: &str, target: &str) -> bool {
    const WIDER: [&[&str]; 4] = [
        &["smallint", "int2"],
        &["integer", "int", "int4"],
        &["bigint", "int8"],
        &["numeric", "decimal"],
    ];
    let place = |name: &str| WIDER.iter().position(|names| names.contains(&name));
    let (source, target) = (source.to_ascii_lowercase(), target.to_ascii_lowercase());
    let wider = place(&source).is_some_and(|source| place(&target) >= Some(source));
    let unbounded = ["text", "varchar", "character varying"].contains(&target.as_str());
    source == target || wider || unbounded
}

impl Draft {
    /// The rule by which writes of older versions reach `column`, if such a write may leave it
    /// NULL.
    pub(crate) fn may_leave_null(&self, table: &Known, column: &str) -> bool {
        let of = |rule: &&Rule| {
            rule.direction == Direction::Up && rule.table == table.physical && rule.target == column
        };
        let rule = self.rules.iter().find(of);
        let Some(rule) = rule.filter(|_| self.marking == Marking::Marked) else {
            return false;
        };
        let full = |name: &str| table.facts.column(name).is_some_and(|c| !c.nullable);
        !(rule.total && rule.sources.iter().all(|source| full(&source.physical)))
    }

    /// Gives every table whose rows can be left wrong its hidden column.
    pub(crate) fn add_marks(&mut self) {
        let rules = crate::planner::rules(self, false);
        for index in 0..self.world.tables.len() {
            let table = self.world.tables[index].physical.clone();
            let Some(mark) = rules.mark(&table) else {
                continue;
            };
            let on = self.sql(&table);
            let statement = format!("ALTER TABLE {on} ADD COLUMN {} jsonb", quote(&mark));
            self.addition(&table).statements.push(statement);
            let facts = &mut self.world.tables[index].facts;
            facts.columns.push(column::plain(&mark, "jsonb"));
        }
    }
}

fn function(base: &str, table: &str) -> Qualified {
    Qualified {
        schema: base.to_owned(),
        name: shortened(&format!("_gapless_note_{table}")),
    }
}

fn triggers() -> [String; 2] {
    ["clear", "note"].map(|what| quote(&format!("{TRIGGER_PREFIX}_{what}")))
}

/// The updates after which a row may be marked otherwise or have another key: those that call
/// the rules, which `columns` names, and those of the key. An update that none of this concerns,
/// as one of a backfill, need not even look at the row again.
fn updates(columns: Option<BTreeSet<String>>, facts: &Table) -> String {
    let Some(mut columns) = columns else {
        return "UPDATE".to_owned();
    };
    if let Key::Columns { columns: key, .. } = backfill::key(facts) {
        columns.extend(key);
    }
    match columns.is_empty() {
        true => "UPDATE".to_owned(),
        false => format!("UPDATE OF {}", quote_all(&columns)),
    }
}

/// The statements that keep the notes of `table` in step with its marks, which change by updates
/// of `columns`, or of any where there are none; nothing without marks.
pub(crate) fn notes(
    base: &str,
    (table, columns): (&str, Option<BTreeSet<String>>),
    facts: &Table,
    all: &[Rules],
) -> Vec<String> {
    let marks = all
        .iter()
        .filter_map(|it| Some((it.serial, it.mark(table)?)));
    let marks: Vec<(u32, String)> = marks.collect();
    if marks.is_empty() {
        return Vec::new();
    }
    let function = function(base, table).sql();
    let on = Qualified {
        schema: base.to_owned(),
        name: table.to_owned(),
    };
    let any = |row: &str| {
        let each = marks
            .iter()
            .map(|(_, mark)| format!("{row}.{} IS NOT NULL", quote(mark)));
        each.collect::<Vec<_>>().join(" OR ")
    };
    let [clear, note] = triggers();
    let (on, updates) = (on.sql(), updates(columns, facts));
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path = pg_catalog, pg_temp AS {}",
            dollar_quoted(&body(table, facts, &marks))
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {clear} AFTER DELETE OR {updates} ON {on} FOR EACH ROW \
             WHEN ({}) EXECUTE FUNCTION {function}('clear')",
            any("OLD")
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {note} AFTER INSERT OR {updates} ON {on} FOR EACH ROW \
             WHEN ({}) EXECUTE FUNCTION {function}('note')",
            any("NEW")
        ),
        format!("ALTER TABLE {on} ENABLE ALWAYS TRIGGER {clear}, ENABLE ALWAYS TRIGGER {note}"),
    ]
}

fn body(table: &str, facts: &Table, marks: &[(u32, String)]) -> String {
    let named = literal(table);
    let serials: Vec<String> = marks.iter().map(|(serial, _)| serial.to_string()).collect();
    let mut text = "\nBEGIN\n  IF TG_ARGV[0] = 'clear' THEN\n".to_owned();
    match key(facts, "OLD") {
        Some(key) => {
            text += &format!(
                "    DELETE FROM gapless.unconverted u WHERE u.installed_rank IN ({}) AND u.\"table\" = {named} AND u.key = {key};\n",
                serials.join(", ")
            );
        }
        None => text += "    NULL;\n",
    }
    text += "    RETURN NULL;\n  END IF;\n";
    let key = key(facts, "NEW").unwrap_or_else(|| "NULL".to_owned());
    for (serial, mark) in marks {
        let mark = quote(mark);
        text += &format!(
            "  IF NEW.{mark} IS NOT NULL THEN\n    \
             INSERT INTO gapless.unconverted (installed_rank, \"table\", key, error)\n    \
             SELECT {serial}, {named}, CASE WHEN noted.rows < {NOTED_MAX} THEN {key} END,\n      \
             (SELECT string_agg(reason.value, '; ') FROM jsonb_each_text(NEW.{mark}) reason)\n    \
             FROM (SELECT count(*) AS rows FROM gapless.unconverted u WHERE u.installed_rank = {serial} AND u.\"table\" = {named}) noted\n    \
             WHERE noted.rows <= {NOTED_MAX};\n  END IF;\n"
        );
    }
    text + "  RETURN NULL;\nEND\n"
}

/// SQL for a row's key as a person reads it: `id = 7`, `(a, b) = (1, 2)`.
fn key(facts: &Table, row: &str) -> Option<String> {
    let Key::Columns { columns, .. } = backfill::key(facts) else {
        return None;
    };
    let format = match columns.as_slice() {
        [only] => format!("{} = %s", only.replace('%', "%%")),
        all => {
            let places = vec!["%s"; all.len()].join(", ");
            format!("({}) = ({places})", all.join(", ").replace('%', "%%"))
        }
    };
    let values = columns
        .iter()
        .map(|column| format!("{row}.{}", quote(column)));
    let values = values.collect::<Vec<_>>().join(", ");
    Some(format!("format({}, {values})", literal(&format)))
}

/// The statements that end the notes of `table`; harmless if there are none.
pub(crate) fn removal(base: &str, table: &str) -> Vec<String> {
    let on = Qualified {
        schema: base.to_owned(),
        name: table.to_owned(),
    };
    let mut statements: Vec<String> = triggers()
        .iter()
        .map(|trigger| format!("DROP TRIGGER IF EXISTS {trigger} ON {}", on.sql()))
        .collect();
    statements.push(function_removal(base, table));
    statements
}

/// The statement that drops the function behind the notes, once no trigger needs it.
pub(crate) fn function_removal(base: &str, table: &str) -> String {
    format!("DROP FUNCTION IF EXISTS {}()", function(base, table).sql())
}
