//! How the rows of a table are gone through, and what else their updates set off.

use crate::plan::{FiringTrigger, Key, TriggerEffect};
use crate::rule::dollar_quoted;
use crate::schema::{
    ConstraintKind, Index, Qualified, Table, TriggerEvent, TriggerFiring, TriggerLevel,
    TriggerTiming,
};
use crate::sql::{quote, shortened};
use crate::world::TRIGGER_PREFIX;

/// The best key of a table: its primary key, else the shortest unique one without NULL.
pub(crate) fn key(facts: &Table) -> Key {
    let mut best: Option<(bool, usize, &str, Vec<&str>)> = None;
    for (name, index) in &facts.indexes {
        let Some(columns) = key_columns(facts, index) else {
            continue;
        };
        let constraint = index
            .constraint
            .as_ref()
            .and_then(|c| facts.constraints.get(c));
        let primary = constraint.is_some_and(|c| c.kind == ConstraintKind::PrimaryKey);
        let candidate = (!primary, columns.len(), name.as_str(), columns);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    match best {
        Some((_, _, index, columns)) => Key::Columns {
            columns: columns.into_iter().map(str::to_owned).collect(),
            index: index.to_owned(),
        },
        None => Key::Ctid,
    }
}

/// The columns of an index that names each row once and in an order of their types.
fn key_columns<'i>(facts: &Table, index: &'i Index) -> Option<Vec<&'i str>> {
    let sound = index.unique && index.valid && index.predicate.is_none() && index.method == "btree";
    let plain = |part: &crate::schema::IndexPart| {
        part.opclass.is_none() && part.collation.is_none() && !part.descending && !part.nulls_first
    };
    if !sound || !index.parts.iter().all(plain) {
        return None;
    }
    // A constraint that is checked at commit lets rows be equal for a while.
    let constraint = index
        .constraint
        .as_ref()
        .and_then(|c| facts.constraints.get(c));
    let columns = index.plain_columns()?;
    let full = columns
        .iter()
        .all(|name| facts.column(name).is_some_and(|c| !c.nullable));
    (full && constraint.is_none_or(|c| !c.deferrable)).then_some(columns)
}

/// The triggers of people that an update of our columns sets off.
pub(crate) fn triggers(facts: &Table) -> Vec<FiringTrigger> {
    let fires = facts.triggers.iter().filter(|(_, trigger)| {
        trigger.events.contains(&TriggerEvent::Update)
            // Ours are columns that no `UPDATE OF` of theirs names.
            && trigger.columns.is_empty()
            && match trigger.firing {
                TriggerFiring::Origin | TriggerFiring::Always => true,
                TriggerFiring::Replica | TriggerFiring::Disabled => false,
            }
    });
    let firing = fires.map(|(name, trigger)| {
        let before_row =
            trigger.timing == TriggerTiming::Before && trigger.level == TriggerLevel::Row;
        let effect = match (before_row, trigger.firing) {
            (true, _) => TriggerEffect::Undone,
            (false, TriggerFiring::Always) => TriggerEffect::FiresAlways,
            (false, _) => TriggerEffect::Fires,
        };
        FiringTrigger {
            name: name.clone(),
            effect,
        }
    });
    firing.collect()
}

/// The name of the trigger that puts back what triggers of people change in a backfill.
fn trigger_name() -> String {
    format!("{TRIGGER_PREFIX}_~undo")
}

fn function(table: &Qualified) -> Qualified {
    Qualified {
        schema: table.schema.clone(),
        name: shortened(&format!("_gapless_undo_{}", table.name)),
    }
}

/// The statements that make the trigger which puts back, in a backfill, every column but those
/// that are filled in: after all triggers of people, whose order is that of their names.
pub(crate) fn undo(table: &Qualified, facts: &Table, filled: &[&str]) -> Vec<String> {
    let kept = facts
        .columns
        .iter()
        .filter(|column| column.generated.is_none() && !filled.contains(&column.name.as_str()));
    let lines = kept.map(|column| {
        let column = quote(&column.name);
        format!("  NEW.{column} := OLD.{column};\n")
    });
    let body: String = lines.collect();
    let (trigger, function) = (quote(&trigger_name()), function(table).sql());
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {}",
            dollar_quoted(&format!("\nBEGIN\n{body}  RETURN NEW;\nEND\n"))
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {trigger} BEFORE UPDATE ON {} FOR EACH ROW \
             WHEN (current_setting('gapless.backfill', true) = 'on') EXECUTE FUNCTION {function}()",
            table.sql()
        ),
        format!(
            "ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}",
            table.sql()
        ),
    ]
}

/// The statements that remove that trigger; harmless if there is none.
pub(crate) fn undo_removal(table: &Qualified) -> Vec<String> {
    vec![
        format!(
            "DROP TRIGGER IF EXISTS {} ON {}",
            quote(&trigger_name()),
            table.sql()
        ),
        format!("DROP FUNCTION IF EXISTS {}()", function(table).sql()),
    ]
}
