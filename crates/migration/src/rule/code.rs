//! The function's text.

use std::fmt::Write as _;

use super::{Direction, Rule, Rules};
use crate::schema::{Qualified, Table};
use crate::sql::{expression, literal, quote};
use crate::world::Named;

/// The function that runs the rules of `table`: those of all migrations, oldest first.
pub(super) fn body(base: &str, table: &str, facts: &Table, all: &[Rules]) -> String {
    let concerned: Vec<usize> = (0..all.len())
        .filter(|index| all[*index].on(table).count() > 0)
        .collect();
    let mut code = Code {
        table: Qualified {
            schema: base.to_owned(),
            name: table.to_owned(),
        },
        facts,
        writer: WRITER,
        declared: String::new(),
        text: String::new(),
        values: 0,
    };
    // It is asked once where one migration alone is in progress.
    if concerned.len() > 1 {
        code.writer = "_gapless_writer";
        let _ = writeln!(code.declared, "  _gapless_writer text := {WRITER};");
    }
    // Down from the newest to the oldest, then up again: both of the oldest are one step.
    let oldest = concerned.first().copied();
    for index in concerned.iter().skip(1).rev() {
        code.down(&all[*index..]);
    }
    if let Some(oldest) = oldest {
        code.both(&all[oldest..]);
    }
    for index in concerned.iter().skip(1) {
        code.up(&all[*index..]);
    }
    // Each of these costs time at every write.
    let searches = |it: &Rule| it.table == table && it.search_path.is_some();
    let path = match all.iter().flat_map(|it| &it.rules).any(searches) {
        true => "  _gapless_path text := current_setting('search_path');\n",
        false => "",
    };
    format!(
        "\n#variable_conflict use_column\nDECLARE\n{path}{}BEGIN\n{}  RETURN NEW;\nEND\n",
        code.declared, code.text
    )
}

struct Code<'a> {
    table: Qualified,
    facts: &'a Table,
    /// SQL for who writes.
    writer: &'static str,
    declared: String,
    text: String,
    values: usize,
}

impl Code<'_> {
    /// The rules of the first migration of `since` for a writer that knows it; `since` are the
    /// migrations from it on.
    fn down(&mut self, since: &[Rules]) {
        if self.has(&since[0], Direction::Down) {
            self.line(1, &format!("IF {} THEN", knows(self.writer, since)));
            self.rules(&since[0], Direction::Down);
            self.line(1, "END IF;");
        }
    }

    /// The same for a writer that does not.
    fn up(&mut self, since: &[Rules]) {
        if !self.has(&since[0], Direction::Up) {
            return;
        }
        self.line(1, &format!("IF NOT {} THEN", knows(self.writer, since)));
        self.rules(&since[0], Direction::Up);
        if self.is_marked(&since[0]) {
            self.line(1, "ELSE");
            self.made_right(&since[0]);
        }
        self.line(1, "END IF;");
    }

    /// Down, then up, where nothing is to be done between.
    fn both(&mut self, since: &[Rules]) {
        if !self.has(&since[0], Direction::Up) || !self.has(&since[0], Direction::Down) {
            self.down(since);
            self.up(since);
            return;
        }
        self.line(1, &format!("IF {} THEN", knows(self.writer, since)));
        self.rules(&since[0], Direction::Down);
        if self.is_marked(&since[0]) {
            self.made_right(&since[0]);
        }
        self.line(1, "ELSE");
        self.rules(&since[0], Direction::Up);
        self.line(1, "END IF;");
    }

    fn has(&self, migration: &Rules, direction: Direction) -> bool {
        let mut own = migration.on(&self.table.name);
        own.any(|rule| rule.direction == direction)
    }

    fn is_marked(&self, migration: &Rules) -> bool {
        migration.mark(&self.table.name).is_some()
    }

    fn rules(&mut self, migration: &Rules, direction: Direction) {
        let own = migration.on(&self.table.name);
        let mut own: Vec<&Rule> = own.filter(|it| it.direction == direction).collect();
        let mark = match direction {
            Direction::Up => migration.mark(&self.table.name),
            Direction::Down => {
                own.reverse();
                None
            }
        };
        for rule in own {
            self.rule(rule, migration.published, mark.as_deref());
        }
        if let Some(mark) = &mark {
            self.demands(migration, mark);
        }
    }

    /// Takes marks away from what a writer writes who knows the column.
    fn made_right(&mut self, migration: &Rules) {
        let Some(mark) = migration.mark(&self.table.name) else {
            return;
        };
        self.line(
            2,
            &format!(
                "IF NEW.{} IS NOT NULL AND TG_OP = 'UPDATE' THEN",
                quote(&mark)
            ),
        );
        let own = migration.on(&self.table.name);
        let up: Vec<&Rule> = own.filter(|it| it.direction == Direction::Up).collect();
        for rule in up {
            let written = self.changed(&rule.target);
            self.line(3, &format!("IF {written} THEN"));
            self.line(4, &right(&mark, &rule.target));
            self.line(3, "END IF;");
        }
        self.line(2, "END IF;");
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{}{text}", "  ".repeat(depth));
    }

    fn rule(&mut self, rule: &Rule, published: bool, mark: Option<&str>) {
        if published {
            let mut changed = vec!["TG_OP = 'INSERT'".to_owned()];
            changed.extend(
                rule.sources
                    .iter()
                    .map(|source| self.changed(&source.physical)),
            );
            self.line(2, &format!("IF {} THEN", changed.join(" OR ")));
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
        self.value(rule);
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
        if published {
            self.line(2, "END IF;");
        }
    }

    /// Gives the target of a rule its value.
    fn value(&mut self, rule: &Rule) {
        let target = quote(&rule.target);
        let expression = expression::in_parentheses(&rule.expression);
        // Within the block this name may be a column's.
        let hidden = rule.alias == "new" || rule.sources.iter().any(|it| it.name == "new");
        if !hidden {
            self.row_as((3, &rule.alias), &rule.sources);
            self.line(4, &format!("NEW.{target} := {expression};"));
            self.line(3, "END;");
            return;
        }
        self.values += 1;
        let value = format!("_gapless_value_{}", self.values);
        let table = self.table.sql();
        let _ = writeln!(self.declared, "  {value} {table}.{target}%TYPE;");
        self.row_as((3, &rule.alias), &rule.sources);
        self.line(4, &format!("{value} := {expression};"));
        self.line(3, "END;");
        self.line(3, &format!("NEW.{target} := {value};"));
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

/// Whether the writer knows the first of these migrations: then it is of its version or later.
fn knows(writer: &str, since: &[Rules]) -> String {
    let versions: Vec<String> = since.iter().map(|m| literal(&m.version)).collect();
    format!("{writer} IN ({})", versions.join(", "))
}

/// The schema that says which version a writer is of.
const WRITER: &str =
    "COALESCE(NULLIF(current_setting('gapless.schema', true), ''), current_schema(), '')";

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
