//! What keeps versions in step: one function per table, run before each of its writes.
//!
//! A rule says what one column is, given the others. Rules of a migration point up (from what
//! older versions write) or down (from what it and newer versions write). A write by version k
//! goes down through the rules of every migration up to k, newest first, and up through those
//! of every later one, oldest first; so it reaches every version's columns, however many
//! migrations are in progress. A rule writes only when one of its sources changed, so that
//! saving a whole row again does not overwrite what the other version made of it. While the
//! migration is not published yet, its rules write at every update instead: nobody sees their
//! targets, and rows that move past the backfill are filled in on the way.
//!
//! Where a rule that points up fails, the writer is not refused: the row is marked (`mark`). Where
//! one that points down fails, the writer is: it is a program of the new version, and the old
//! one's data must stay exact for as long as there may be a way back.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::mark::{self, Demand, Marking};
use crate::schema::{Qualified, Table, TriggerEvent, TriggerFiring, TriggerLevel, TriggerTiming};
use crate::sql::{expression, literal, quote, shortened};
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
    let any = all.iter().any(|m| m.rules.iter().any(|r| r.table == table));
    if !any {
        return Vec::new();
    }
    let function = function_name(base, table);
    let on = Qualified {
        schema: base.to_owned(),
        name: table.to_owned(),
    };
    let events = match update_columns(table, facts, all) {
        Some(columns) if columns.is_empty() => "INSERT".to_owned(),
        Some(columns) => {
            let columns = crate::sql::name::quote_all(&columns);
            format!("INSERT OR UPDATE OF {columns}")
        }
        None => "INSERT OR UPDATE".to_owned(),
    };
    let trigger = quote(&trigger_name());
    let mut statements = vec![
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}",
            function.sql(),
            dollar_quoted(&body(base, table, facts, all)),
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {trigger} BEFORE {events} ON {} FOR EACH ROW \
             WHEN (COALESCE(current_setting('gapless.backfill', true), '') <> 'on') \
             EXECUTE FUNCTION {}()",
            on.sql(),
            function.sql(),
        ),
        format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}", on.sql()),
    ];
    statements.extend(mark::notes(base, table, facts, all));
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
/// somebody else may change a source, or rows are still being filled in.
fn update_columns(table: &str, facts: &Table, all: &[Rules]) -> Option<BTreeSet<String>> {
    let unpublished = all
        .iter()
        .any(|m| !m.published && m.rules.iter().any(|r| r.table == table));
    let changes_rows = facts.triggers.values().any(|trigger| {
        trigger.timing == TriggerTiming::Before
            && trigger.level == TriggerLevel::Row
            && trigger.events.contains(&TriggerEvent::Update)
            && trigger.firing != TriggerFiring::Disabled
    });
    if unpublished || changes_rows {
        return None;
    }
    let mut columns = BTreeSet::new();
    for migration in all {
        let own = migration.rules.iter().filter(|rule| rule.table == table);
        let marked = migration.mark(table).is_some();
        let demands = migration.demands_on(table).into_iter();
        columns.extend(demands.flat_map(|(demand, _)| demand.columns.iter().cloned()));
        for rule in own {
            columns.extend(rule.sources.iter().map(|it| it.physical.clone()));
            // Who writes a column that is wrong makes it right.
            columns.extend(marked.then(|| rule.target.clone()));
        }
    }
    Some(columns)
}

fn body(base: &str, table: &str, facts: &Table, all: &[Rules]) -> String {
    let mut code = Code {
        table: Qualified {
            schema: base.to_owned(),
            name: table.to_owned(),
        },
        facts,
        declared: String::new(),
        text: String::new(),
        values: 0,
    };
    for (index, migration) in all.iter().enumerate().rev() {
        code.section(&all[index..], migration, Direction::Down);
    }
    for (index, migration) in all.iter().enumerate() {
        code.section(&all[index..], migration, Direction::Up);
    }
    // Each of these costs time at every write.
    let searches = |it: &Rule| it.table == table && it.search_path.is_some();
    let path = match all.iter().flat_map(|it| &it.rules).any(searches) {
        true => "  _gapless_path text := current_setting('search_path');\n",
        false => "",
    };
    format!(
        "\n#variable_conflict use_column\nDECLARE\n  \
         _gapless_writer text := COALESCE(NULLIF(current_setting('gapless.schema', true), ''), current_schema(), '');\n\
         {path}{}BEGIN\n{}  RETURN NEW;\nEND\n",
        code.declared, code.text
    )
}

struct Code<'a> {
    table: Qualified,
    facts: &'a Table,
    declared: String,
    text: String,
    values: usize,
}

impl Code<'_> {
    /// The rules of one migration in one direction; `since` are the migrations from it on.
    fn section(&mut self, since: &[Rules], migration: &Rules, direction: Direction) {
        let own = migration
            .rules
            .iter()
            .filter(|rule| rule.table == self.table.name && rule.direction == direction);
        let mut own: Vec<&Rule> = own.collect();
        if own.is_empty() {
            return;
        }
        let versions: Vec<String> = since.iter().map(|m| literal(&m.version)).collect();
        let not = match direction {
            Direction::Up => "NOT ",
            Direction::Down => {
                own.reverse();
                ""
            }
        };
        let versions = versions.join(", ");
        self.line(1, &format!("IF _gapless_writer {not}IN ({versions}) THEN"));
        let mark = match direction {
            Direction::Up => migration.mark(&self.table.name),
            Direction::Down => None,
        };
        for rule in &own {
            self.rule(rule, migration.published, mark.as_deref());
        }
        if let Some(mark) = &mark {
            self.demands(migration, mark);
            self.line(1, &format!("ELSIF NEW.{} IS NOT NULL THEN", quote(mark)));
            self.line(2, "IF TG_OP = 'UPDATE' THEN");
            for rule in &own {
                let written = self.changed(&rule.target);
                self.line(3, &format!("IF {written} THEN"));
                self.line(4, &right(mark, &rule.target));
                self.line(3, "END IF;");
            }
            self.line(2, "END IF;");
        }
        self.line(1, "END IF;");
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{}{text}", "  ".repeat(depth));
    }

    fn rule(&mut self, rule: &Rule, published: bool, mark: Option<&str>) {
        self.values += 1;
        let value = format!("_gapless_value_{}", self.values);
        let target = quote(&rule.target);
        let _ = writeln!(
            self.declared,
            "  {value} {}.{target}%TYPE;",
            self.table.sql()
        );
        if published {
            let mut changed = vec!["TG_OP = 'INSERT'".to_owned()];
            changed.extend(
                rule.sources
                    .iter()
                    .map(|source| self.changed(&source.physical)),
            );
            self.line(2, &format!("IF {} THEN", changed.join(" OR ")));
        } else {
            self.line(2, "IF true THEN");
        }
        if let Some(path) = &rule.search_path {
            let path = literal(&crate::sql::name::quote_all(path));
            self.line(
                3,
                &format!("PERFORM set_config('search_path', {path}, true);"),
            );
        }
        // Each such block is a subtransaction, so there is none where nothing can fail.
        let caught = mark.filter(|_| !rule.total);
        if caught.is_some() {
            self.line(3, "BEGIN");
        }
        self.row_as((3, &rule.alias), &rule.sources);
        let expression = expression::in_parentheses(&rule.expression);
        self.line(4, &format!("{value} := {expression};"));
        self.line(3, "END;");
        self.line(3, &format!("NEW.{target} := {value};"));
        if let Some(mark) = mark {
            let quoted = quote(mark);
            self.line(3, &format!("IF NEW.{quoted} IS NOT NULL THEN"));
            self.line(4, &right(mark, &rule.target));
            self.line(3, "END IF;");
        }
        if let Some(mark) = caught {
            self.line(3, "EXCEPTION WHEN OTHERS THEN");
            self.line(4, &format!("IF left(SQLSTATE, 2) IN ({NOT_OF_ROWS}) THEN"));
            self.line(5, "RAISE;");
            self.line(4, "END IF;");
            self.keep((4, mark), &[&rule.target], "left(SQLERRM, 200)");
            self.line(3, "END;");
        }
        if rule.search_path.is_some() {
            self.line(3, "PERFORM set_config('search_path', _gapless_path, true);");
        }
        self.line(2, "END IF;");
    }

    /// Opens a block in which columns of the new row have names of their own.
    fn row_as(&mut self, (depth, alias): (usize, &str), columns: &[Named]) {
        self.line(depth, &format!("<<{}>>", quote(alias)));
        self.line(depth, "DECLARE");
        let table = self.table.sql();
        for it in columns {
            let (name, column) = (quote(&it.name), quote(&it.physical));
            self.line(
                depth + 1,
                &format!("{name} {table}.{column}%TYPE := NEW.{column};"),
            );
        }
        self.line(depth, "BEGIN");
    }

    /// What the new version demands of columns that were just made, before the server would
    /// refuse the writer.
    fn demands(&mut self, migration: &Rules, mark: &str) {
        for (demand, targets) in migration.demands_on(&self.table.name) {
            let columns: Vec<Named> = demand.columns.iter().map(|it| Named::same(it)).collect();
            let alias = self.table.name.clone();
            self.row_as((2, &alias), &columns);
            self.line(3, &format!("IF ({}) IS FALSE THEN", demand.condition));
            self.keep((4, mark), &targets, &literal(&demand.reason));
            self.line(3, "END IF;");
            self.line(2, "END;");
        }
    }

    /// Leaves columns as they were, and marks the row; what was said of one stands.
    fn keep(&mut self, (depth, mark): (usize, &str), targets: &[&str], reason: &str) {
        for target in targets {
            let target = quote(target);
            self.line(depth, "IF TG_OP = 'UPDATE' THEN");
            self.line(depth + 1, &format!("NEW.{target} := OLD.{target};"));
            self.line(depth, "ELSE");
            self.line(depth + 1, &format!("NEW.{target} := NULL;"));
            self.line(depth, "END IF;");
        }
        let (mark, pairs) = (quote(mark), targets.iter());
        let pairs = pairs.map(|target| format!("{}, {reason}", literal(target)));
        let pairs: Vec<String> = pairs.collect();
        self.line(
            depth,
            &format!(
                "NEW.{mark} := jsonb_build_object({}) || COALESCE(NEW.{mark}, '{{}}');",
                pairs.join(", ")
            ),
        );
    }

    /// Whether an update changes a column; some types have no equality, or a lax one.
    fn changed(&self, column: &str) -> String {
        const COMPARED_AS_TEXT: [&str; 9] = [
            "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle",
        ];
        let data_type = self
            .facts
            .column(column)
            .map_or("", |c| c.data_type.as_str());
        let base = data_type.trim_end_matches("[]");
        let cast = match COMPARED_AS_TEXT.contains(&base) {
            true => "::text",
            false => "",
        };
        let column = quote(column);
        format!("NEW.{column}{cast} IS DISTINCT FROM OLD.{column}{cast}")
    }
}

/// Classes of errors that say nothing of the row: they are the writer's, as ever.
const NOT_OF_ROWS: &str = "'08', '25', '40', '53', '55', '57', '58', 'XX'";

/// The statement that takes the mark of a column away.
fn right(mark: &str, target: &str) -> String {
    let mark = quote(mark);
    format!(
        "NEW.{mark} := NULLIF(NEW.{mark} - {}, '{{}}');",
        literal(target)
    )
}

/// A text between dollar signs whose tag does not occur in it.
pub(crate) fn dollar_quoted(text: &str) -> String {
    let mut tag = "$gapless$".to_owned();
    while text.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("{tag}{text}{tag}")
}
