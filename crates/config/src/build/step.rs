//! Steps: what a new release gets before it gets all traffic.

use std::time::Duration;

use model::{Audience, Compare, Shadow, Share, Step};

use super::rollout::audience;
use crate::declare::StrategyName;
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::{Item, Table, Value};

/// The methods that change nothing.
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// The longest body that is kept.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// The steps of a canary, or those before the switch of blue/green.
pub(super) fn steps(rollout: &Table, mistakes: &mut Mistakes<'_>) -> Vec<Step> {
    let tables = rollout.get::<&[Table]>("steps").unwrap_or_default();
    let strategy: StrategyName = rollout.value("strategy");
    if strategy == StrategyName::Canary {
        check_any(rollout, tables, mistakes);
    }
    let mut before: Option<&Table> = None;
    let mut weight = Share::NONE;
    let mut steps = Vec::with_capacity(tables.len());
    for table in tables {
        let written: Option<Share> = table.get("weight");
        if table.is_written("weight") && written.is_none() {
            continue;
        }
        match strategy {
            StrategyName::BlueGreen => check_before_switch(table, mistakes),
            StrategyName::Canary | StrategyName::Rolling | StrategyName::Recreate => {
                check_weight(table, (written, weight, before), mistakes);
            }
        }
        check_end(table, mistakes);
        if let Some(written) = written {
            (weight, before) = (written, Some(table));
        }
        let members: Option<&Table> = table.get("audience");
        let members = members.and_then(|members| audience(members, mistakes));
        steps.push(step(table, (weight, members), mistakes));
    }
    steps
}

fn step(
    table: &Table,
    (weight, audience): (Share, Option<Audience>),
    mistakes: &mut Mistakes<'_>,
) -> Step {
    Step {
        weight,
        lasts: table.value("for"),
        approve: table.value("approve"),
        audience,
        shadow: shadow(table, mistakes),
    }
}

fn check_any(rollout: &Table, tables: &[Table], mistakes: &mut Mistakes<'_>) {
    if tables.is_empty() && rollout.is_sound("steps") {
        let message = format!("the canary of {} has no steps", rollout.path);
        let mistake = if rollout.is_written("steps") {
            Mistake::new(rollout.span("steps"), message)
        } else {
            Mistake::missing(rollout.span("strategy"), message)
        };
        mistakes.add(mistake.hint("add `steps = [{ weight = \"5%\", for = \"2m\" }]`"));
    }
}

fn is_shadowed(table: &Table) -> bool {
    table.is_written("shadow") || table.is_written("compare")
}

/// Before the switch nobody but the preview's users reaches the new set.
fn check_before_switch(table: &Table, mistakes: &mut Mistakes<'_>) {
    for key in ["weight", "audience"] {
        if table.is_written(key) {
            let message = format!("`{key}` exposes users, and blue_green does so at its switch");
            let mistake = Mistake::new(table.key_span(key), message);
            mistakes.add(mistake.hint("use the strategy canary, or `preview`"));
        }
    }
    if !is_shadowed(table) {
        mistakes.add(nothing(table, "`shadow` or `compare`"));
    }
}

fn nothing(table: &Table, expected: &str) -> Mistake {
    let message = format!("{} does nothing", table.path);
    Mistake::missing(table.span.clone(), message).expected(expected)
}

fn check_weight(
    table: &Table,
    (written, share, before): (Option<Share>, Share, Option<&Table>),
    mistakes: &mut Mistakes<'_>,
) {
    let Some(weight) = written else {
        if !is_shadowed(table) && !table.is_written("audience") {
            mistakes.add(nothing(
                table,
                "`weight`, `audience`, `shadow` or `compare`",
            ));
        }
        return;
    };
    if weight == Share::ALL {
        let message = "a step cannot have all traffic";
        let mistake = Mistake::new(table.span("weight"), message).expected("less than 100%");
        mistakes.add(mistake.hint("leave the step out: everything moves after the last one"));
    }
    if weight == Share::NONE && !table.is_written("audience") && !is_shadowed(table) {
        let message = "a step of 0% without `audience` tries the new release on nobody";
        mistakes.add(Mistake::new(table.span("weight"), message));
    }
    if let Some(previous) = before
        && weight <= share
    {
        let message = format!("the weights of steps must grow, and {weight} follows {share}");
        let mistake = Mistake::new(table.span("weight"), message);
        mistakes.add(mistake.related(previous.span("weight"), "the step before"));
    }
}

/// A comparison ends when it has its samples; everything else needs a time or a person.
fn check_end(table: &Table, mistakes: &mut Mistakes<'_>) {
    let lasts: Duration = table.value("for");
    let approve: bool = table.value("approve");
    let ends = lasts.is_zero() && !approve && !table.is_written("compare");
    if ends && table.is_sound("for") && table.is_sound("approve") {
        let message = format!("{} ends at once", table.path);
        let mistake = Mistake::missing(table.span.clone(), message)
            .expected("`for`, `approve = true`, or both");
        mistakes.add(mistake.hint("add `for = \"2m\"`"));
    }
}

/// The step's shadow; `None` also after a mistake.
fn shadow(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<Shadow> {
    let copied: Option<&Table> = table.get("shadow");
    let compared: Option<&Table> = table.get("compare");
    if table.is_written("shadow") && table.is_written("compare") {
        let message = "a step has either `shadow` or `compare`: comparing copies, too";
        let mistake = Mistake::new(table.key_span("compare"), message);
        mistakes.add(mistake.related(table.key_span("shadow"), "the other one"));
        return None;
    }
    let own = copied.or(compared)?;
    let share: Share = own.get("share")?;
    if share == Share::NONE {
        let message = "0% of the requests are none";
        mistakes.add(Mistake::new(own.span("share"), message).expected("more than 0%"));
    }
    let body_bytes_max: u64 = own.value("body_max");
    if body_bytes_max > BODY_BYTES_MAX {
        let message = "copies are kept in memory, and this is too much for one";
        mistakes.add(Mistake::new(own.span("body_max"), message).expected("at most 1MiB"));
    }
    let safe = || SAFE.map(str::to_owned).to_vec();
    let methods = copied
        .and_then(|own| texts(own, "methods"))
        .unwrap_or_else(safe);
    if methods.is_empty() {
        let message = "without a method nothing is copied";
        mistakes.add(Mistake::new(own.span("methods"), message));
    }
    Some(Shadow {
        share,
        methods,
        body_bytes_max,
        compare: compared.map(compare),
    })
}

fn compare(table: &Table) -> Compare {
    Compare {
        headers: texts(table, "headers").unwrap_or_default(),
        ignore: texts(table, "ignore").unwrap_or_default(),
        samples: table.value("samples"),
        at_most: table.value("at_most"),
    }
}

fn texts(table: &Table, name: &str) -> Option<Vec<String>> {
    let items: &[Item<Value>] = table.get(name)?;
    let text = |item: &Item<Value>| String::try_from(&item.value).ok();
    Some(items.iter().filter_map(text).collect())
}
