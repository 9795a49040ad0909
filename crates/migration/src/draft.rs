//! One migration on its way from operations to a plan.
//!
//! Operations change the draft's world and leave here what that needs in each phase.

use std::collections::{BTreeMap, BTreeSet};

use model::diagnostic::{Mistake, Span};

use crate::ddl::{self, Build};
use crate::file::{NAME_BYTES_MAX, Text};
use crate::mark::{self, Demand, Marking};
use crate::plan::{Assignment, Backfill, Cost, LockLevel, Note, NoteLevel, Run, Step, TableLock};
use crate::rule::{Direction, Rule};
use crate::schema::{Constraint, ConstraintKind, Index, Qualified, TableKind};
use crate::sql::name::PREFIX;
use crate::sql::{TokenKind, artefact, expression, quote, tokens};
use crate::world::{Known, Named, World};

/// A migration being planned.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The number that tells what it adds from what others add.
    pub(crate) serial: u32,
    /// Which of its operations is being planned.
    pub(crate) operation: usize,
    /// Whether rows that it has wrong can be marked.
    pub(crate) marking: Marking,
    /// The schema of its version.
    pub(crate) version: String,
    /// The schema of the version before.
    pub(crate) previous: Option<String>,
    /// The schemas of all versions.
    pub(crate) versions: BTreeSet<String>,
    /// The schemas that the role searches besides.
    pub(crate) path: Vec<String>,
    /// What the version before knows.
    pub(crate) before: World,
    /// What this version knows, as far as it is planned.
    pub(crate) world: World,
    /// New tables and a person's own SQL.
    pub(crate) creates: Vec<Step>,
    /// What each table in the catalogue gets before the backfill.
    pub(crate) additions: BTreeMap<String, Addition>,
    /// What is to be filled in.
    pub(crate) backfills: Vec<Backfill>,
    /// What keeps versions in step.
    pub(crate) rules: Vec<Rule>,
    /// What the version demands of columns that rules make.
    pub(crate) demands: Vec<Demand>,
    /// After the backfill.
    pub(crate) publish: Vec<Step>,
    /// What each table in the catalogue gets at contract, besides what follows from its names.
    pub(crate) ends: BTreeMap<String, End>,
    /// Tables in the catalogue that must be swapped together.
    pub(crate) links: BTreeSet<(String, String)>,
    /// At contract, when all else is done.
    pub(crate) tail: Vec<Step>,
    /// What an abort does besides, the last first.
    pub(crate) undo: Vec<Step>,
    /// Whether it ran SQL that nobody can plan.
    pub(crate) reread: bool,
    /// What a person should know.
    pub(crate) notes: Vec<Note>,
    /// What is wrong.
    pub(crate) mistakes: Vec<Mistake>,
}

/// What a table gets before the backfill, in one transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addition {
    /// The statements.
    pub(crate) statements: Vec<String>,
    /// What is added, for the title.
    pub(crate) what: Vec<String>,
    /// Whether a statement writes the table anew or reads it.
    pub(crate) cost: Option<Cost>,
}

/// A check that passes marked rows until contract.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    /// The check that does.
    pub(crate) until: String,
    /// The one that does not, made at contract.
    pub(crate) name: String,
    /// What follows its name.
    pub(crate) definition: String,
}

/// What a table gets at contract.
#[derive(Debug, Clone, Default)]
pub(crate) struct End {
    /// Columns in the catalogue that become NOT NULL, with the check that proves it.
    pub(crate) not_null: Vec<(String, String)>,
    /// What is proved before anything goes.
    pub(crate) proofs: Vec<Proof>,
    /// While the columns that go are still there.
    pub(crate) handover: Vec<String>,
}

impl Draft {
    /// Says what is wrong at `span`.
    pub(crate) fn refuse(&mut self, span: &Span, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(span.clone(), message));
    }

    /// The place of the table called `name`, or a mistake.
    pub(crate) fn table(&mut self, name: &Text) -> Option<usize> {
        if let Some(found) = self.world.find(name) {
            return Some(found);
        }
        let names = self.world.tables.iter().map(|table| table.name.as_str());
        let hint = model::diagnostic::did_you_mean(name, names);
        let message = format!("there is no table `{}`", name.value);
        self.mistakes
            .push(Mistake::new(name.span.clone(), message).hint_if(hint));
        None
    }

    /// The catalogue's name of a column, or a mistake.
    pub(crate) fn column(&mut self, table: usize, name: &Text) -> Option<String> {
        let known = &self.world.tables[table];
        if let Some(found) = crate::world::physical(&known.columns, name) {
            return Some(found.to_owned());
        }
        let names = known.columns.iter().map(|column| column.name.as_str());
        let hint = model::diagnostic::did_you_mean(name, names);
        let message = format!("the table `{}` has no column `{}`", known.name, name.value);
        self.mistakes
            .push(Mistake::new(name.span.clone(), message).hint_if(hint));
        None
    }

    /// Whether `name` can be the name of something new.
    pub(crate) fn fits(&mut self, name: &Text) -> bool {
        let message = if name.len() > NAME_BYTES_MAX {
            let message = format!(
                "the name has {} bytes, at most {NAME_BYTES_MAX} fit",
                name.len()
            );
            Some(message)
        } else if name.starts_with(PREFIX) {
            Some(format!(
                "names that begin with `{PREFIX}` are for migrations in progress"
            ))
        } else if name.contains('\0') {
            Some("a name has no zero bytes".to_owned())
        } else {
            None
        };
        if let Some(message) = &message {
            self.refuse(&name.span, message.clone());
        }
        message.is_none()
    }

    /// A name of something that this operation adds for `name`.
    pub(crate) fn artefact(&self, name: &str) -> String {
        artefact(self.serial, self.operation, name)
    }

    /// A lock on a table of the catalogue.
    pub(crate) fn lock(&self, table: &str, level: LockLevel) -> TableLock {
        TableLock {
            table: self.world.qualified(table),
            level,
        }
    }

    /// The table as it stands in SQL.
    pub(crate) fn sql(&self, table: &str) -> String {
        self.world.qualified(table).sql()
    }

    /// What a table gets before the backfill.
    pub(crate) fn addition(&mut self, table: &str) -> &mut Addition {
        self.additions.entry(table.to_owned()).or_default()
    }

    /// What a table gets at contract.
    pub(crate) fn end(&mut self, table: &str) -> &mut End {
        self.ends.entry(table.to_owned()).or_default()
    }

    /// Tells a person something.
    pub(crate) fn note(&mut self, level: NoteLevel, table: &str, text: String) {
        let table = Some(table.to_owned());
        self.notes.push(Note { level, table, text });
    }

    /// The schemas by which `expression` is to be resolved for `direction`.
    pub(crate) fn search_path(&self, direction: Direction) -> Vec<String> {
        let first = match direction {
            Direction::Up => self.previous.clone(),
            Direction::Down => Some(self.version.clone()),
        };
        let mut path: Vec<String> = first.into_iter().collect();
        path.push(self.world.base.clone());
        for schema in &self.path {
            if !path.contains(schema) {
                path.push(schema.clone());
            }
        }
        path
    }

    /// A rule for the column `target` of a table of the catalogue. A value that comes from
    /// another table is asked about: rules run for writes of their own table only.
    pub(crate) fn rule(
        &mut self,
        (known, direction): (&Known, Direction),
        target: &str,
        expression: &str,
    ) -> Rule {
        let more = tokens(expression).iter().any(|token| {
            let name = token.name();
            let ours = name.is_some_and(|name| {
                self.world.types.contains_key(name) || self.world.functions.contains(name)
            });
            ours || token.is("select")
        });
        if let Some(other) = self.reads_other(known, expression) {
            let text = format!(
                "`{expression}` reads another table, `{other}`: what is written there later does not reach rows of `{}` that are there already",
                known.name
            );
            self.note(NoteLevel::Ask, &known.physical, text);
        }
        let facts = self.world.find_physical(&known.physical);
        let column = facts.and_then(|it| it.facts.column(target));
        Rule {
            total: column.is_some_and(|it| mark::is_total(known, expression, it)),
            table: known.physical.clone(),
            direction,
            target: target.to_owned(),
            expression: expression.to_owned(),
            alias: known.name.clone(),
            sources: known.reads(expression).into_iter().cloned().collect(),
            search_path: more.then(|| self.search_path(direction)),
        }
    }

    /// The first table besides `known` that an expression selects from.
    fn reads_other(&self, known: &Known, expression: &str) -> Option<String> {
        let tokens = tokens(expression);
        let selected = tokens.windows(2).filter_map(|pair| {
            let from = pair[0].is("from") || pair[0].is("join");
            pair[1].name().filter(|_| from)
        });
        let mut others = selected.filter(|name| *name != known.name);
        others
            .find(|name| self.world.find(name).is_some())
            .map(str::to_owned)
    }

    /// Refuses what surely fails: an expression that is a mere name, and no column's.
    pub(crate) fn resolves(&mut self, known: &Known, text: &Text) -> bool {
        let all = tokens(text);
        let open = all.iter().any(|token| token.kind == TokenKind::Open);
        if open || all.is_empty() {
            self.refuse(
                &text.span,
                "this is no expression: it is empty or has no end",
            );
            return false;
        }
        const VALUES: [&str; 12] = [
            "null",
            "true",
            "false",
            "default",
            "current_date",
            "current_time",
            "current_timestamp",
            "localtime",
            "localtimestamp",
            "current_user",
            "session_user",
            "user",
        ];
        match all.as_slice() {
            [only] => only.name().is_none_or(|name| {
                known.columns.iter().any(|c| c.name == name)
                    || VALUES.contains(&name) && matches!(only.kind, TokenKind::Word(_))
            }),
            _ => true,
        }
    }

    /// Fills a column of a table of the catalogue in.
    pub(crate) fn fill(&mut self, known: &Known, target: &str, expression: &str) {
        let renamed = known.reads(expression).iter().any(|c| c.name != c.physical);
        let sources: BTreeSet<String> = known
            .reads(expression)
            .iter()
            .map(|c| c.physical.clone())
            .collect();
        let value = expression::in_parentheses(expression);
        let value = match renamed {
            false => value,
            true => {
                let alias = quote(&known.name);
                let columns = known
                    .reads(expression)
                    .into_iter()
                    .map(|c| format!("{alias}.{} AS {}", quote(&c.physical), quote(&c.name)));
                let columns: Vec<String> = columns.collect();
                format!(
                    "(SELECT {value} FROM (SELECT {}) AS {alias})",
                    columns.join(", ")
                )
            }
        };
        let assignment = Assignment {
            column: target.to_owned(),
            expression: value,
        };
        let table = self.world.qualified(&known.physical);
        let search_path = self.search_path(Direction::Up);
        let last = self.backfills.iter_mut().rev().find(|b| b.table == table);
        if let Some(last) = last
            && last.alias == known.name
            && last.set.iter().all(|set| !sources.contains(&set.column))
        {
            last.set.push(assignment);
            return;
        }
        self.backfills.push(Backfill {
            table,
            alias: known.name.clone(),
            key: crate::backfill::key(&known.facts),
            set: vec![assignment],
            search_path,
            triggers: crate::backfill::triggers(&known.facts),
        });
    }

    /// Adds a check or foreign key to a table of the catalogue and proves it, after the
    /// backfill. Writes of older versions whose columns break a check are marked instead.
    pub(crate) fn constrain(&mut self, table: usize, name: &str, it: &Constraint) {
        let physical = self.world.tables[table].physical.clone();
        let made = |rule: &Rule| {
            self.marking == Marking::Marked
                && rule.direction == Direction::Up
                && rule.table == physical
                && it.columns.contains(&rule.target)
        };
        let condition = it.expression.as_ref();
        let condition = condition.filter(|_| it.kind == ConstraintKind::Check);
        let Some(condition) = condition.filter(|_| self.rules.iter().any(made)) else {
            self.enforce(table, name, it);
            return;
        };
        let named = name.strip_prefix(&self.artefact("")).unwrap_or(name);
        let until = self.artefact(&format!("{named}_until"));
        let reason = format!("it breaks the check `{named}` of the new version");
        self.demands.push(Demand {
            table: physical,
            columns: it.columns.clone(),
            condition: condition.clone(),
            reason,
        });
        self.enforce_until_contract(table, (&until, name), it);
    }

    /// Adds a check that passes marked rows as `until`, and as `name` at contract.
    pub(crate) fn enforce_until_contract(
        &mut self,
        table: usize,
        (until, name): (&str, &str),
        it: &Constraint,
    ) {
        let condition = it.expression.as_deref().unwrap_or("true");
        let mark = quote(&mark::name(self.serial));
        let lax = Constraint {
            expression: Some(format!("({condition}) OR {mark} IS NOT NULL")),
            ..it.clone()
        };
        self.enforce(table, until, &lax);
        let physical = self.world.tables[table].physical.clone();
        self.end(&physical).proofs.push(Proof {
            until: until.to_owned(),
            name: name.to_owned(),
            definition: ddl::constraint(it, None),
        });
    }

    /// Adds a check or foreign key that no write of an older version can break, or that has to
    /// hold for it as well.
    pub(crate) fn enforce(&mut self, table: usize, name: &str, it: &Constraint) {
        let known = &self.world.tables[table];
        let (physical, kind) = (known.physical.clone(), known.facts.kind);
        let on = self.sql(&physical);
        let mut locks = vec![self.lock(&physical, LockLevel::AccessExclusive)];
        if let (Some(key), ConstraintKind::ForeignKey) = (&it.foreign_key, it.kind) {
            locks = vec![
                self.lock(&physical, LockLevel::ShareRowExclusive),
                TableLock {
                    table: key.table.clone(),
                    level: LockLevel::ShareRowExclusive,
                },
            ];
        }
        let definition = ddl::constraint(it, None);
        let quoted = quote(name);
        let partitioned = kind == TableKind::Partitioned && it.kind == ConstraintKind::ForeignKey;
        let whole = it.kind == ConstraintKind::Exclusion
            || partitioned && self.world.server_version < 180_000;
        if whole {
            let text = format!(
                "`{name}` is checked row by row while `{physical}` is locked, because the server can add it in no other way"
            );
            self.note(NoteLevel::Warning, &physical, text.clone());
            self.publish.push(step(
                format!("add the constraint `{name}` to `{physical}`"),
                format!("ALTER TABLE {on} ADD CONSTRAINT {quoted} {definition}"),
                locks,
                (Cost::Scan, &text),
            ));
            return;
        }
        self.publish.push(step(
            format!("add the constraint `{name}` to `{physical}`, for new rows"),
            format!("ALTER TABLE {on} ADD CONSTRAINT {quoted} {definition} NOT VALID"),
            locks,
            (Cost::Instant, "NOT VALID: no row is read"),
        ));
        let mut locks = vec![self.lock(&physical, LockLevel::ShareUpdateExclusive)];
        if let Some(key) = &it.foreign_key {
            locks.push(TableLock {
                table: key.table.clone(),
                level: LockLevel::RowShare,
            });
        }
        self.publish.push(Step {
            run: Run::Validate,
            ..step(
                format!("prove the constraint `{name}` for every row of `{physical}`"),
                format!("ALTER TABLE {on} VALIDATE CONSTRAINT {quoted}"),
                locks,
                (Cost::Scan, "reads every row beside readers and writers"),
            )
        });
    }

    /// Builds an index on a table of the catalogue, after the backfill.
    pub(crate) fn index(&mut self, table: usize, name: &str, it: &Index) {
        let known = self.world.tables[table].clone();
        let base = self.world.base.clone();
        let on = self.world.qualified(&known.physical);
        if known.fresh {
            let title = format!(
                "build the index `{name}` on the new table `{}`",
                known.physical
            );
            self.publish.push(step(
                title,
                ddl::index(name, &on, it, Build::Plain),
                vec![self.lock(&known.physical, LockLevel::Share)],
                (Cost::Instant, "no program uses the table yet"),
            ));
            return;
        }
        if known.facts.kind == TableKind::Partitioned {
            crate::partition::index(self, &known, (name, it));
            return;
        }
        self.publish.push(index_step(&base, &on, (name, it)));
        self.undo.push(drop_index_step(&base, &on, name));
    }
}

/// A step of one statement, in a transaction.
fn step(
    title: String,
    statement: String,
    locks: Vec<TableLock>,
    (cost, why): (Cost, &str),
) -> Step {
    Step {
        title,
        statements: vec![statement],
        run: Run::Together,
        locks,
        cost,
        why: why.to_owned(),
    }
}

/// The step that builds an index beside readers and writers.
pub(crate) fn index_step(base: &str, on: &Qualified, (name, it): (&str, &Index)) -> Step {
    let clear = vec![drop_index(base, name)];
    let done = ddl::index_is_valid(base, name);
    let title = format!("build the index `{name}` on `{}`", on.name);
    let statement = ddl::index(name, on, it, Build::Concurrently);
    Step {
        run: Run::Alone { done, clear },
        ..concurrently(title, statement, (on, Cost::Scan))
    }
}

/// The step that drops an index beside readers and writers.
pub(crate) fn drop_index_step(base: &str, on: &Qualified, name: &str) -> Step {
    let done = ddl::index_is_gone(base, name);
    let clear = Vec::new();
    let title = format!("drop the index `{name}` of `{}`", on.name);
    Step {
        run: Run::Alone { done, clear },
        ..concurrently(title, drop_index(base, name), (on, Cost::Instant))
    }
}

fn drop_index(base: &str, name: &str) -> String {
    let name = Qualified {
        schema: base.to_owned(),
        name: name.to_owned(),
    };
    format!("DROP INDEX CONCURRENTLY IF EXISTS {}", name.sql())
}

fn concurrently(title: String, statement: String, (on, cost): (&Qualified, Cost)) -> Step {
    let lock = TableLock {
        table: on.clone(),
        level: LockLevel::ShareUpdateExclusive,
    };
    let why = "CONCURRENTLY: readers and writers go on";
    step(title, statement, vec![lock], (cost, why))
}

/// Renames in a list of names.
pub(crate) fn swap_named(names: &mut [Named], name: &str, physical: &str) {
    for named in names.iter_mut().filter(|named| named.name == name) {
        physical.clone_into(&mut named.physical);
    }
}
