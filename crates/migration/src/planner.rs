//! From migrations to plans: the one that begins, the one that ends, the one that is taken back.

use std::collections::{BTreeMap, BTreeSet};

use model::diagnostic::{Mistake, Mistakes, Report};

use crate::backfill;
use crate::draft::{Addition, Draft};
use crate::file::{Migration, NAME_BYTES_MAX};
use crate::mark::{self, Marking};
use crate::op::Operation;
use crate::plan::{
    Cost, LockLevel, Note, NoteLevel, Plan, Run, Step, TriggerEffect, VersionSchema,
};
use crate::rule::{self, Rules};
use crate::schema::{RowSecurity, Schema};
use crate::sql::{quote, tokens};
use crate::swap;
use crate::views;
use crate::world::World;

/// A database with the migrations that are in progress on it.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    /// Its schema as it is now, with whatever of the migrations was done.
    pub schema: &'a Schema,
    /// The version schema that the last contracted migration left; `None`: there is none, and
    /// programs use the base schema itself.
    pub published: Option<&'a str>,
    /// The migrations in progress, oldest first; the last may be one that begins now.
    pub open: &'a [Open<'a>],
}

/// A migration in progress.
#[derive(Debug, Clone, Copy)]
pub struct Open<'a> {
    /// A number that no other migration of the database has or had.
    pub serial: u32,
    /// The migration.
    pub migration: &'a Migration,
}

/// Plans the newest of the migrations in progress.
///
/// Its `contract` is what it will be if the older ones are contracted before and nobody else
/// changes the schema; [`contract`] says what it is when the time has come. The same arguments
/// always give the same plan, whatever of it was done already.
///
/// # Errors
///
/// A [`Report`] of every mistake that the migration makes against the schema, with its places
/// in the migration's text. Of an older migration, if that no longer fits the schema.
pub fn plan(database: &Database<'_>) -> Result<Plan, Report> {
    let drafts = drafts(database, world(database), database.open)?;
    let Some((newest, older)) = drafts.split_last() else {
        return Err(nothing());
    };
    let settled = settled_before(database, database.open.len() - 1)?;
    let own = &database.open[database.open.len() - 1..];
    let previous = newest.previous.clone();
    let ending = drafts_from(database, settled, (own, previous))?;
    let contract = match ending.first() {
        Some(draft) => swap::steps(draft, &draft.world.settled(), &[]),
        None => Vec::new(),
    };
    let owner = &database.schema.role.name;
    let mut notes = newest.notes.clone();
    notes.extend(views::notes(newest));
    notes.extend(trigger_notes(
        newest,
        database.schema.role.may_silence_triggers,
    ));
    Ok(Plan {
        version: VersionSchema {
            name: newest.version.clone(),
            previous: newest.previous.clone(),
            base: newest.world.base.clone(),
            tables: newest.world.tables.iter().map(|t| t.name.clone()).collect(),
        },
        expand: expand(older, newest),
        backfill: newest.backfills.clone(),
        publish: publish(older, newest, owner),
        contract,
        abort: abort_steps(older, newest),
        notes,
        reread: newest.reread,
    })
}

/// Plans the end of the oldest migration in progress.
///
/// # Errors
///
/// As [`plan`].
pub fn contract(database: &Database<'_>) -> Result<Vec<Step>, Report> {
    let drafts = drafts(database, world(database), database.open)?;
    let Some(oldest) = drafts.first() else {
        return Err(nothing());
    };
    let settled = oldest.world.settled();
    let previous = Some(oldest.version.clone());
    let later = drafts_from(database, settled.clone(), (&database.open[1..], previous))?;
    let rules: Vec<Rules> = later.iter().map(|draft| rules(draft, true)).collect();
    Ok(swap::steps(oldest, &settled, &rules))
}

/// Plans how the newest migration in progress is taken back, whatever of it was done.
///
/// # Errors
///
/// As [`plan`].
pub fn abort(database: &Database<'_>) -> Result<Vec<Step>, Report> {
    let drafts = drafts(database, world(database), database.open)?;
    let Some((newest, older)) = drafts.split_last() else {
        return Err(nothing());
    };
    Ok(abort_steps(older, newest))
}

fn nothing() -> Report {
    let mut mistakes = Mistakes::new("", "the database");
    mistakes.add(Mistake::new(0..0, "no migration is in progress"));
    mistakes.report()
}

/// The world before all migrations in progress.
fn world(database: &Database<'_>) -> World {
    let mut made = BTreeSet::new();
    for open in database.open {
        for operation in &open.migration.operations {
            match &operation.value {
                Operation::CreateTable(it) => made.insert(it.name.value.clone()),
                Operation::CreateIndex(it) => made.insert(it.name.value.clone()),
                Operation::AddColumn(_)
                | Operation::AlterColumn(_)
                | Operation::RenameColumn(_)
                | Operation::RenameConstraint(_)
                | Operation::RenameTable(_)
                | Operation::DropColumn(_)
                | Operation::DropTable(_)
                | Operation::DropIndex(_)
                | Operation::CreateConstraint(_)
                | Operation::DropConstraint(_)
                | Operation::DropMulticolumnConstraint(_)
                | Operation::Sql(_)
                | Operation::SetReplicaIdentity(_) => false,
            };
        }
    }
    World::of(database.schema, &made)
}

/// The world once the first `count` migrations in progress are contracted.
fn settled_before(database: &Database<'_>, count: usize) -> Result<World, Report> {
    let mut settled = world(database);
    let mut previous = database.published.map(str::to_owned);
    for open in &database.open[..count] {
        let drafts = drafts_from(database, settled, (std::slice::from_ref(open), previous))?;
        let Some(draft) = drafts.into_iter().next() else {
            return Err(nothing());
        };
        settled = draft.world.settled();
        previous = Some(draft.version);
    }
    Ok(settled)
}

fn drafts(database: &Database<'_>, world: World, open: &[Open<'_>]) -> Result<Vec<Draft>, Report> {
    let previous = database.published.map(str::to_owned);
    drafts_from(database, world, (open, previous))
}

fn drafts_from(
    database: &Database<'_>,
    mut world: World,
    (open, mut previous): (&[Open<'_>], Option<String>),
) -> Result<Vec<Draft>, Report> {
    let mut drafts = Vec::new();
    for open in open {
        let draft = draft(database, world, (open, previous))?;
        world = draft.world.clone();
        for known in &mut world.tables {
            known.fresh = false;
        }
        previous = Some(draft.version.clone());
        drafts.push(draft);
    }
    Ok(drafts)
}

fn draft(
    database: &Database<'_>,
    world: World,
    (open, previous): (&Open<'_>, Option<String>),
) -> Result<Draft, Report> {
    let migration = open.migration;
    let versions = database
        .open
        .iter()
        .map(|open| open.migration.version(&world.base));
    let versions = versions
        .chain(database.published.map(str::to_owned))
        .collect();
    let mut draft = Draft {
        serial: open.serial,
        operation: 0,
        marking: Marking::of(database.schema, open.serial),
        version: migration.version(&world.base),
        previous,
        versions,
        path: role_path(&database.schema.role.search_path),
        before: world.clone(),
        world,
        creates: Vec::new(),
        additions: BTreeMap::new(),
        backfills: Vec::new(),
        rules: Vec::new(),
        demands: Vec::new(),
        publish: Vec::new(),
        ends: BTreeMap::new(),
        links: BTreeSet::new(),
        tail: Vec::new(),
        undo: Vec::new(),
        reread: false,
        notes: Vec::new(),
        mistakes: Vec::new(),
    };
    check_version(&mut draft, database, migration);
    for (index, operation) in migration.operations.iter().enumerate() {
        draft.operation = index;
        operation
            .value
            .plan(&mut draft, (&operation.span, migration.operations.len()));
        draft.world.relink();
    }
    draft.add_marks();
    if draft.mistakes.is_empty() {
        return Ok(draft);
    }
    let mut mistakes = Mistakes::new(&migration.text, "the migration");
    for mistake in std::mem::take(&mut draft.mistakes) {
        mistakes.add(mistake);
    }
    Err(mistakes.report())
}

fn check_version(draft: &mut Draft, database: &Database<'_>, migration: &Migration) {
    let span = migration
        .version_schema
        .as_ref()
        .map_or(0..0, |text| text.span.clone());
    let version = draft.version.clone();
    if version.len() > NAME_BYTES_MAX {
        draft.refuse(
            &span,
            format!("the version schema's name `{version}` has more than {NAME_BYTES_MAX} bytes"),
        );
    }
    let same = database
        .open
        .iter()
        .filter(|open| open.migration.version(&draft.world.base) == version);
    if same.count() > 1 || database.published == Some(version.as_str()) {
        draft.refuse(
            &span,
            format!("there is a version schema `{version}` already"),
        );
    }
    if database.schema.server_version < 150_000 {
        let secured = draft
            .world
            .tables
            .iter()
            .find(|t| t.facts.row_security != RowSecurity::Off);
        if let Some(name) = secured.map(|table| table.name.clone()) {
            draft.refuse(&span, format!("`{name}` has row-level security, which views of this server (before 15) would pass by"));
        }
    }
}

/// The schemas that a role searches, without the one that is named like it.
fn role_path(setting: &str) -> Vec<String> {
    let all = tokens(setting);
    let names = all.iter().filter_map(|token| token.name());
    names
        .filter(|name| *name != "$user")
        .map(str::to_owned)
        .collect()
}

/// The rules of a migration, whose version is published or not.
pub(crate) fn rules(draft: &Draft, published: bool) -> Rules {
    Rules {
        serial: draft.serial,
        marking: draft.marking,
        version: draft.version.clone(),
        published,
        rules: draft.rules.clone(),
        demands: draft.demands.clone(),
        keys: draft
            .backfills
            .iter()
            .map(|it| (it.table.name.clone(), it.key.clone()))
            .collect(),
    }
}

/// The rules of all migrations in progress, the newest of which is published or not.
fn all_rules(older: &[Draft], newest: &Draft, published: bool) -> Vec<Rules> {
    let mut all: Vec<Rules> = older.iter().map(|draft| rules(draft, true)).collect();
    all.push(rules(newest, published));
    all
}

/// The tables of the catalogue that have rules.
fn ruled(all: &[Rules]) -> BTreeSet<&str> {
    let rules = all.iter().flat_map(|migration| &migration.rules);
    rules.map(|rule| rule.table.as_str()).collect()
}

fn expand(older: &[Draft], newest: &Draft) -> Vec<Step> {
    let mut steps = newest.creates.clone();
    let all = all_rules(older, newest, false);
    let tables: BTreeSet<&str> = newest
        .additions
        .keys()
        .map(String::as_str)
        .chain(ruled(&all))
        .collect();
    for table in tables {
        let addition = newest.additions.get(table);
        steps.extend(addition_step(newest, table, addition, &all));
    }
    steps
}

/// One table's new columns and rules, in one transaction.
fn addition_step(
    newest: &Draft,
    table: &str,
    addition: Option<&Addition>,
    all: &[Rules],
) -> Option<Step> {
    let known = newest
        .world
        .find_physical(table)
        .or_else(|| newest.before.find_physical(table))?;
    let mut statements = addition.map_or_else(Vec::new, |it| it.statements.clone());
    statements.extend(rule::statements(
        &newest.world.base,
        table,
        &known.facts,
        all,
    ));
    let filled: Vec<&str> = newest
        .backfills
        .iter()
        .filter(|it| it.table.name == table)
        .flat_map(|it| it.set.iter().map(|set| set.column.as_str()))
        .collect();
    if undoes(newest, table, &known.facts) {
        let on = newest.world.qualified(table);
        statements.extend(backfill::undo(&on, &known.facts, &filled));
    }
    let (title, level) = match addition {
        Some(it) if !it.what.is_empty() => {
            let title = format!(
                "add {} to `{table}`, kept in step by a trigger",
                it.what.join(", ")
            );
            (title, LockLevel::AccessExclusive)
        }
        Some(_) | None => (
            format!("teach the trigger of `{table}` the new version"),
            LockLevel::ShareRowExclusive,
        ),
    };
    let cost = addition.and_then(|it| it.cost).unwrap_or(Cost::Instant);
    let why = match cost {
        Cost::Instant => {
            "nullable columns and a trigger change the catalogue only; no program sees them"
        }
        Cost::Scan | Cost::Rewrite | Cost::Unknown => {
            "not safe for a big table: it is written anew while nobody can read it"
        }
    };
    Some(Step {
        title,
        statements,
        run: Run::Together,
        locks: vec![newest.lock(table, level)],
        cost,
        why: why.to_owned(),
    })
}

/// Whether triggers of people change rows in the backfill of a table, which is to be undone.
fn undoes(newest: &Draft, table: &str, facts: &crate::schema::Table) -> bool {
    let filled = newest.backfills.iter().any(|it| it.table.name == table);
    let undone = |it: &crate::plan::FiringTrigger| it.effect == TriggerEffect::Undone;
    filled && backfill::triggers(facts).iter().any(undone)
}

fn publish(older: &[Draft], newest: &Draft, owner: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let own: BTreeSet<&str> = newest
        .rules
        .iter()
        .map(|rule| rule.table.as_str())
        .collect();
    let all = all_rules(older, newest, true);
    for table in own {
        let Some(known) = newest
            .world
            .find_physical(table)
            .or_else(|| newest.before.find_physical(table))
        else {
            continue;
        };
        let undone = undoes(newest, table, &known.facts);
        let mut statements = match undone {
            true => backfill::undo_removal(&newest.world.qualified(table)),
            false => Vec::new(),
        };
        // A trigger can only be dropped while nobody reads.
        let level = match undone {
            true => LockLevel::AccessExclusive,
            false => LockLevel::ShareRowExclusive,
        };
        statements.extend(rule::statements(
            &newest.world.base,
            table,
            &known.facts,
            &all,
        ));
        steps.push(Step {
            title: format!("let the trigger of `{table}` write what a change concerns only"),
            statements,
            run: Run::Together,
            locks: vec![newest.lock(table, level)],
            cost: Cost::Instant,
            why: "every row is filled in; from here on nothing of the new version is overwritten"
                .to_owned(),
        });
    }
    steps.extend(newest.publish.iter().cloned());
    steps.push(views::publish(newest, owner));
    steps
}

fn abort_steps(older: &[Draft], newest: &Draft) -> Vec<Step> {
    let mut steps = vec![views::removal(&newest.version)];
    let all: Vec<Rules> = older.iter().map(|draft| rules(draft, true)).collect();
    let created: BTreeSet<&str> = newest
        .world
        .tables
        .iter()
        .filter(|t| t.fresh)
        .map(|t| t.physical.as_str())
        .collect();
    let ruled_before = all_rules(older, newest, true);
    let tables: BTreeSet<&str> = newest
        .additions
        .keys()
        .map(String::as_str)
        .chain(ruled(&ruled_before))
        .collect();
    let constrained = newest
        .world
        .tables
        .iter()
        .filter(|t| has_artefacts(t))
        .map(|t| t.physical.as_str());
    for table in tables
        .into_iter()
        .chain(constrained)
        .collect::<BTreeSet<&str>>()
    {
        if !created.contains(table) {
            steps.extend(abort_table(newest, table, &all));
        }
    }
    steps.extend(newest.undo.iter().rev().cloned());
    steps
}

fn has_artefacts(known: &crate::world::Known) -> bool {
    known
        .facts
        .constraints
        .keys()
        .any(|name| name.starts_with(crate::sql::name::PREFIX))
}

/// Takes one table back to what the older migrations made of it.
fn abort_table(newest: &Draft, table: &str, older: &[Rules]) -> Option<Step> {
    let before = newest.before.find_physical(table)?;
    let now = newest.world.find_physical(table).unwrap_or(before);
    let on = newest.sql(table);
    let mut statements = backfill::undo_removal(&newest.world.qualified(table));
    let rules = rule::statements(&newest.world.base, table, &before.facts, older);
    match rules.is_empty() {
        true => statements.extend(rule::removal(&newest.world.base, table)),
        false => {
            statements.extend(mark::removal(&newest.world.base, table));
            statements.extend(rules);
        }
    }
    let end = newest.ends.get(table);
    let proofs = end.into_iter().flat_map(|end| &end.proofs);
    let not_null = end.into_iter().flat_map(|end| &end.not_null);
    let checks: BTreeSet<&String> = not_null
        .map(|(_, check)| check)
        .chain(proofs.flat_map(|proof| [&proof.until, &proof.name]))
        .collect();
    let added = now.facts.constraints.keys().filter(|name| {
        !before.facts.constraints.contains_key(*name) && !now.pending.contains(*name)
    });
    let added: BTreeSet<&String> = checks.into_iter().chain(added).collect();
    for name in added {
        statements.push(format!(
            "ALTER TABLE {on} DROP CONSTRAINT IF EXISTS {}",
            quote(name)
        ));
    }
    let mut locks = vec![newest.lock(table, LockLevel::AccessExclusive)];
    // Keys of other tables that point at the new columns.
    for reference in now
        .facts
        .referenced_by
        .difference(&before.facts.referenced_by)
    {
        let (other, key) = (reference.table.sql(), quote(&reference.constraint));
        statements.push(format!(
            "ALTER TABLE {other} DROP CONSTRAINT IF EXISTS {key}"
        ));
        locks.push(newest.lock_of(&reference.table, LockLevel::AccessExclusive));
    }
    for column in &now.facts.columns {
        if before.facts.column(&column.name).is_none() {
            let name = quote(&column.name);
            statements.push(format!("ALTER TABLE {on} DROP COLUMN IF EXISTS {name}"));
        }
    }
    Some(Step {
        title: format!("take `{table}` back to what it was"),
        statements,
        run: Run::Together,
        locks,
        cost: Cost::Instant,
        why: "drops what the migration added; what programs use was never touched".to_owned(),
    })
}

/// What the triggers of people do in a backfill, unless it is undone or silenced.
fn trigger_notes(draft: &Draft, may_silence: bool) -> Vec<Note> {
    let mut notes = Vec::new();
    for backfill in &draft.backfills {
        for trigger in &backfill.triggers {
            let why = match trigger.effect {
                TriggerEffect::Undone => continue,
                TriggerEffect::Fires if may_silence => continue,
                TriggerEffect::Fires => {
                    "the role may not set `session_replication_role`: GRANT SET ON PARAMETER session_replication_role TO it"
                }
                TriggerEffect::FiresAlways => "it is enabled always",
            };
            let name = &trigger.name;
            let text = format!("the trigger `{name}` fires for every row of the backfill: {why}");
            let table = Some(backfill.table.name.clone());
            let note = Note {
                level: NoteLevel::Ask,
                table,
                text,
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}
