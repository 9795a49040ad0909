//! The end of a migration: what only the version before needed goes, and the catalogue gets the
//! names that the version knows. Each table changes in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::ddl;
use crate::draft::Draft;
use crate::mark;
use crate::plan::{Cost, LockLevel, Run, Step, TableLock};
use crate::rule::{self, Rules};
use crate::schema::{ConstraintKind, Qualified};
use crate::sql::name::object_name;
use crate::sql::{artefact, literal, quote};
use crate::views;
use crate::world::{Known, Named, World, logical};

/// The first version of the server where a column's NOT NULL is a constraint with a name.
const NAMED_NOT_NULL: u32 = 180_000;

/// The steps that end the migration of `draft`; `settled` is the world after it, and `rules`
/// those of the migrations that are still in progress then, in its names.
pub(crate) fn steps(draft: &Draft, settled: &World, rules: &[Rules]) -> Vec<Step> {
    let mut steps = proofs(draft);
    for group in groups(draft) {
        let swap = Swap {
            draft,
            settled,
            rules,
            group,
        };
        steps.extend(swap.step());
    }
    for gone in dropped(draft) {
        steps.push(drop_table(draft, gone));
    }
    if let Some(previous) = &draft.previous {
        steps.push(views::removal(previous));
    }
    steps.extend(draft.tail.iter().cloned());
    steps
}

/// What is proved before anything goes: that no row is left which an older version's write left
/// wrong for a check of the version.
fn proofs(draft: &Draft) -> Vec<Step> {
    let mut steps = Vec::new();
    let kept = |table: &&String| draft.world.find_physical(table).is_some();
    for (table, end) in draft.ends.iter().filter(|(table, _)| kept(table)) {
        let on = draft.sql(table);
        for it in &end.proofs {
            let (proof, name) = (&it.name, quote(&it.name));
            steps.push(Step {
                title: format!("demand of new rows of `{table}` that `{proof}` holds"),
                statements: vec![format!(
                    "ALTER TABLE {on} ADD CONSTRAINT {name} {} NOT VALID",
                    it.definition
                )],
                run: Run::Together,
                locks: vec![draft.lock(table, LockLevel::AccessExclusive)],
                cost: Cost::Instant,
                why: "NOT VALID: no row is read".to_owned(),
            });
            steps.push(Step {
                title: format!("prove `{proof}` for every row of `{table}`"),
                statements: vec![format!("ALTER TABLE {on} VALIDATE CONSTRAINT {name}")],
                run: Run::Validate,
                locks: vec![draft.lock(table, LockLevel::ShareUpdateExclusive)],
                cost: Cost::Scan,
                why: "reads every row beside readers and writers".to_owned(),
            });
        }
    }
    steps
}

/// The tables that the version before knew and this one does not.
fn dropped(draft: &Draft) -> impl Iterator<Item = &Known> {
    let still = |known: &&Known| draft.world.find_physical(&known.physical).is_none();
    draft.before.tables.iter().filter(still)
}

fn drop_table(draft: &Draft, gone: &Known) -> Step {
    let mut statements = Vec::new();
    if let Some(previous) = &draft.previous {
        let view = Qualified {
            schema: previous.clone(),
            name: gone.name.clone(),
        };
        statements.push(format!("DROP VIEW IF EXISTS {}", view.sql()));
    }
    statements.push(format!(
        "DROP TABLE IF EXISTS {}",
        draft.sql(&gone.physical)
    ));
    let function = rule::function_name(&draft.world.base, &gone.physical).sql();
    statements.push(format!("DROP FUNCTION IF EXISTS {function}()"));
    statements.push(mark::function_removal(&draft.world.base, &gone.physical));
    Step {
        title: format!("drop the table `{}`", gone.physical),
        statements,
        run: Run::Together,
        locks: vec![draft.lock(&gone.physical, LockLevel::AccessExclusive)],
        cost: Cost::Instant,
        why: "no version that is still in use knows it".to_owned(),
    }
}

/// The tables of the catalogue, those together that must change together.
fn groups(draft: &Draft) -> Vec<Vec<&Known>> {
    let mut leader: BTreeMap<&str, &str> = BTreeMap::new();
    for known in &draft.world.tables {
        leader.insert(&known.physical, &known.physical);
    }
    for (a, b) in &draft.links {
        let (Some(a), Some(b)) = (
            leader.get(a.as_str()).copied(),
            leader.get(b.as_str()).copied(),
        ) else {
            continue;
        };
        for value in leader.values_mut().filter(|value| **value == b) {
            *value = a;
        }
    }
    let leaders: BTreeSet<&str> = leader.values().copied().collect();
    let members = |of: &&str| {
        let tables = draft.world.tables.iter();
        tables
            .filter(|t| leader.get(t.physical.as_str()) == Some(of))
            .collect()
    };
    leaders.iter().map(members).collect()
}

struct Swap<'a> {
    draft: &'a Draft,
    settled: &'a World,
    rules: &'a [Rules],
    group: Vec<&'a Known>,
}

impl Swap<'_> {
    fn step(&self) -> Option<Step> {
        let mut statements = Vec::new();
        let phases = [
            Self::drop_foreign_keys,
            Self::drop_constraints,
            Self::columns,
            Self::names,
        ];
        for phase in phases {
            for known in &self.group {
                statements.extend(phase(self, known));
            }
        }
        if statements.is_empty() {
            return None;
        }
        let mut before = Vec::new();
        let mut locks = Vec::new();
        for known in &self.group {
            let on = self.draft.sql(&known.physical);
            before.push(format!("LOCK TABLE {on} IN ACCESS EXCLUSIVE MODE"));
            locks.push(self.draft.lock(&known.physical, LockLevel::AccessExclusive));
            if self.has_rules(known) {
                before.extend(rule::removal(&self.draft.world.base, &known.physical));
            }
            before.extend(self.drop_view(known));
            locks.extend(self.foreign_locks(known));
        }
        locks.sort();
        locks.dedup();
        before.extend(statements);
        for known in &self.group {
            let Some(facts) = self.settled.find_physical(&known.name) else {
                continue;
            };
            let base = &self.draft.world.base;
            before.extend(rule::statements(
                base,
                &known.name,
                &facts.facts,
                self.rules,
            ));
        }
        let names: Vec<String> = self
            .group
            .iter()
            .map(|t| format!("`{}`", t.physical))
            .collect();
        Some(Step {
            title: format!("leave the old form of {} behind", names.join(", ")),
            statements: before,
            run: Run::Together,
            locks,
            cost: Cost::Instant,
            why: "the catalogue changes at once, no row is read or written; every new rule was proved before".to_owned(),
        })
    }

    fn has_rules(&self, known: &Known) -> bool {
        let ours = |rule: &crate::rule::Rule| rule.table == known.physical;
        let later = |rule: &crate::rule::Rule| rule.table == known.name;
        self.draft.rules.iter().any(ours)
            || self
                .rules
                .iter()
                .any(|migration| migration.rules.iter().any(later))
    }

    fn drop_view(&self, known: &Known) -> Option<String> {
        let previous = self.draft.previous.as_ref()?;
        let mut before = self.draft.before.tables.iter();
        let old = before.find(|old| old.physical == known.physical)?;
        let view = Qualified {
            schema: previous.clone(),
            name: old.name.clone(),
        };
        Some(format!("DROP VIEW IF EXISTS {}", view.sql()))
    }

    /// Dropping a foreign key locks the table it points at as well.
    fn foreign_locks(&self, known: &Known) -> Vec<TableLock> {
        let gone = gone_constraints(known).filter_map(|name| {
            let key = known.facts.constraints.get(name)?.foreign_key.as_ref()?;
            Some(self.draft.lock_of(&key.table, LockLevel::AccessExclusive))
        });
        gone.collect()
    }

    /// Before the keys that they point at.
    fn drop_foreign_keys(&self, known: &Known) -> Vec<String> {
        self.drops(known, |kind| kind == ConstraintKind::ForeignKey)
    }

    fn drop_constraints(&self, known: &Known) -> Vec<String> {
        self.drops(known, |kind| kind != ConstraintKind::ForeignKey)
    }

    fn drops(&self, known: &Known, which: impl Fn(ConstraintKind) -> bool) -> Vec<String> {
        let on = self.draft.sql(&known.physical);
        let dropped = |name: &&String| {
            let it = &known.facts.constraints[*name];
            !it.inherited && which(it.kind)
        };
        gone_constraints(known)
            .filter(dropped)
            .map(|name| format!("ALTER TABLE {on} DROP CONSTRAINT {}", quote(name)))
            .collect()
    }

    fn columns(&self, known: &Known) -> Vec<String> {
        let on = self.draft.sql(&known.physical);
        let mut statements = Vec::new();
        let end = self.draft.ends.get(&known.physical);
        for proof in end.into_iter().flat_map(|end| &end.proofs) {
            let until = quote(&proof.until);
            statements.push(format!("ALTER TABLE {on} DROP CONSTRAINT {until}"));
        }
        for (column, check) in end.into_iter().flat_map(|end| &end.not_null) {
            let (column, check) = (quote(column), quote(check));
            statements.push(format!(
                "ALTER TABLE {on} ALTER COLUMN {column} SET NOT NULL"
            ));
            statements.push(format!("ALTER TABLE {on} DROP CONSTRAINT {check}"));
        }
        statements.extend(end.into_iter().flat_map(|end| end.handover.clone()));
        for column in &known.facts.columns {
            if logical(&known.columns, &column.name).is_none() {
                statements.push(format!(
                    "ALTER TABLE {on} DROP COLUMN {}",
                    quote(&column.name)
                ));
            }
        }
        statements
    }

    fn names(&self, known: &Known) -> Vec<String> {
        let on = self.draft.sql(&known.physical);
        let mut statements = Vec::new();
        for named in &known.constraints {
            let Some(it) = known.facts.constraints.get(&named.physical) else {
                continue;
            };
            if known.pending.contains(&named.physical) {
                let index = it.index.as_deref().unwrap_or(&named.physical);
                let definition = ddl::over_index(it, index);
                let name = quote(&named.name);
                statements.push(format!(
                    "ALTER TABLE {on} ADD CONSTRAINT {name} {definition}"
                ));
            }
        }
        let unsettled = |named: &&Named| !known.pending.contains(&named.physical);
        let constraints: Vec<Named> = known
            .constraints
            .iter()
            .filter(unsettled)
            .cloned()
            .collect();
        statements.extend(renames(self.draft, &constraints, |from, to| {
            format!("ALTER TABLE {on} RENAME CONSTRAINT {from} TO {to}")
        }));
        statements.extend(renames(self.draft, &known.columns, |from, to| {
            format!("ALTER TABLE {on} RENAME COLUMN {from} TO {to}")
        }));
        let free = known.indexes.iter().filter(|named| {
            let index = known.facts.indexes.get(&named.physical);
            index.is_some_and(|index| index.constraint.is_none())
        });
        let indexes: Vec<Named> = free.cloned().collect();
        let base = quote(&self.draft.world.base);
        statements.extend(renames(self.draft, &indexes, |from, to| {
            format!("ALTER INDEX {base}.{from} RENAME TO {to}")
        }));
        statements.extend(self.comments(known, &indexes));
        for (column, default) in &known.defaults {
            let column = quote(column);
            statements.push(match default {
                Some(default) => {
                    format!("ALTER TABLE {on} ALTER COLUMN {column} SET DEFAULT {default}")
                }
                None => format!("ALTER TABLE {on} ALTER COLUMN {column} DROP DEFAULT"),
            });
        }
        statements.extend(self.not_null_names(known));
        if known.name != known.physical {
            statements.push(format!("ALTER TABLE {on} RENAME TO {}", quote(&known.name)));
        }
        statements
    }
}

impl Swap<'_> {
    /// The names that columns' NOT NULL would have had by their own: from version 18 on it is a
    /// constraint, named once by what the column was called then.
    fn not_null_names(&self, known: &Known) -> Option<String> {
        let another = |named: &&Named| named.name != named.physical;
        let named = known.columns.iter().filter(another).map(|named| {
            let name = object_name(&known.name, &named.name, "not_null");
            format!("({}, {})", literal(&named.name), literal(&name))
        });
        let named: Vec<String> = named.collect();
        if self.draft.world.server_version < NAMED_NOT_NULL || named.is_empty() {
            return None;
        }
        let on = self.draft.sql(&known.physical);
        let body = format!(
            "\nDECLARE\n  it record;\nBEGIN\n  \
             FOR it IN SELECT c.conname AS old, n.name FROM (VALUES {}) n (col, name)\n    \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = {on}::regclass AND a.attname = n.col\n    \
             JOIN pg_catalog.pg_constraint c ON c.conrelid = a.attrelid AND c.contype = 'n' AND c.conkey = ARRAY[a.attnum]\n    \
             WHERE c.conislocal AND c.conname LIKE '%\\_gapless\\_%'\n      \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conrelid = c.conrelid AND o.conname = n.name)\n  LOOP\n    \
             EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {on}, it.old, it.name);\n  END LOOP;\nEND\n",
            named.join(", "),
            on = literal(&on),
        );
        Some(format!("DO {}", rule::dollar_quoted(&body)))
    }

    /// What was said of constraints and indexes, said of those that took their place; `free` are
    /// the indexes that are no constraint's.
    fn comments(&self, known: &Known, free: &[Named]) -> Vec<String> {
        let (on, base) = (
            self.draft.sql(&known.physical),
            quote(&self.draft.world.base),
        );
        let another = |named: &&Named| named.name != named.physical;
        let constraints = known
            .constraints
            .iter()
            .filter(another)
            .filter_map(|named| {
                let it = known.facts.constraints.get(&named.physical)?;
                let (name, text) = (quote(&named.name), literal(it.comment.as_ref()?));
                Some(format!("COMMENT ON CONSTRAINT {name} ON {on} IS {text}"))
            });
        let indexes = free.iter().filter(another).filter_map(|named| {
            let it = known.facts.indexes.get(&named.physical)?;
            let (name, text) = (quote(&named.name), literal(it.comment.as_ref()?));
            Some(format!("COMMENT ON INDEX {base}.{name} IS {text}"))
        });
        constraints.chain(indexes).collect()
    }
}

/// The constraints of the catalogue that the version does not know.
fn gone_constraints(known: &Known) -> impl Iterator<Item = &String> {
    known.facts.constraints.iter().filter_map(|(name, it)| {
        let seen = logical(&known.constraints, name).is_some();
        let real = !known.pending.contains(name) && it.kind != ConstraintKind::NotNull;
        (!seen && real).then_some(name)
    })
}

/// The statements that give everything its name, also where two change places.
fn renames(
    draft: &Draft,
    names: &[Named],
    statement: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    let mut todo: Vec<Named> = names
        .iter()
        .filter(|n| n.name != n.physical)
        .cloned()
        .collect();
    let mut statements = Vec::new();
    let mut turn = 0;
    while !todo.is_empty() {
        let free = |named: &Named| !todo.iter().any(|other| other.physical == named.name);
        match todo.iter().position(free) {
            Some(at) => {
                let named = todo.remove(at);
                statements.push(statement(&quote(&named.physical), &quote(&named.name)));
            }
            None => {
                // A ring: the first steps aside.
                let aside = artefact(draft.serial, draft.operation, &format!("aside_{turn}"));
                statements.push(statement(&quote(&todo[0].physical), &quote(&aside)));
                todo[0].physical = aside;
                turn += 1;
            }
        }
    }
    statements
}
