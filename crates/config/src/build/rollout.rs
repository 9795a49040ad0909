//! How a new release is rolled out: knobs that fit the strategy, and values that can work.

use std::time::Duration;

use model::{Audience, AudienceValue, Blue, Check, Count, Limit, Metric, Port, RolloutPolicy};
use model::{Share, Strategy};

use super::command::{Env, Given, argv};
use super::number;
use super::step::steps;
use crate::declare::StrategyName;
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::{Bound, Table};

/// Checks and builds `rollout`; `None` only after a mistake.
pub(super) fn build(
    service: &Table,
    port: Port,
    env: &Env<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Option<RolloutPolicy> {
    let table: &Table = service.value("rollout");
    check_knobs(table, mistakes);
    check_port(service, table, port, mistakes);
    check_recreate(table, mistakes);
    check_times(table, mistakes);
    let job = (env, Given::Nothing);
    Some(RolloutPolicy {
        strategy: strategy(service, table, env, mistakes),
        min_ready: table.value("min_ready"),
        deadline: table.value("deadline"),
        affinity: table.get("affinity"),
        stick_to_instance: table.is_written("stick"),
        checks: checks(table, mistakes)?,
        min_requests: table.value("min_requests"),
        on_fail: table.value("on_fail"),
        on_no_data: table.value("on_no_data"),
        before: argv(table, "before", job, mistakes),
        after: argv(table, "after", job, mistakes),
        job_timeout: table.value("job_timeout"),
    })
}

/// Refuses the knobs of strategies other than the one that is set.
fn check_knobs(table: &Table, mistakes: &mut Mistakes<'_>) {
    if !table.is_sound("strategy") {
        return;
    }
    let strategy: StrategyName = table.value("strategy");
    for field in table.section.fields {
        let Some(owners) = field
            .owners()
            .filter(|_| !field.strategies.contains(&strategy))
        else {
            continue;
        };
        if table.is_written(field.name) {
            let message = format!(
                "`{}` belongs to the {owners}, and this one is {}",
                field.name,
                strategy.as_str()
            );
            let mut mistake = Mistake::new(table.key_span(field.name), message);
            if table.is_written("strategy") {
                mistake = mistake.related(table.span("strategy"), "set here");
            } else {
                let owner = field.strategies[0].as_str();
                mistake = mistake.hint(format!("add `strategy = \"{owner}\"`"));
            }
            mistakes.add(mistake);
        }
    }
}

/// Refuses the strategies that consist in moving traffic where there is none.
fn check_port(service: &Table, table: &Table, port: Port, mistakes: &mut Mistakes<'_>) {
    let strategy: StrategyName = table.value("strategy");
    match (port, strategy) {
        (Port::Assigned | Port::Fixed(_), _)
        | (Port::None, StrategyName::Rolling | StrategyName::Recreate) => {}
        (Port::None, StrategyName::BlueGreen | StrategyName::Canary) => {
            let message = format!("{} needs requests, and so a port", strategy.as_str());
            let mistake = Mistake::new(table.span("strategy"), message)
                .expected("\"rolling\" or \"recreate\" for a service without a port");
            mistakes.add(mistake.related(service.span("port"), "there is none"));
        }
    }
}

/// Refuses checks where the two releases never serve side by side.
fn check_recreate(table: &Table, mistakes: &mut Mistakes<'_>) {
    let strategy: StrategyName = table.value("strategy");
    if strategy == StrategyName::Recreate && table.is_written("checks") {
        let message = "`checks` compare two releases that serve, and recreate never has both";
        let mistake = Mistake::new(table.key_span("checks"), message);
        mistakes.add(mistake.related(table.span("strategy"), "set here"));
    }
}

fn check_times(table: &Table, mistakes: &mut Mistakes<'_>) {
    let (min_ready, deadline): (Duration, Duration) =
        (table.value("min_ready"), table.value("deadline"));
    if min_ready >= deadline && table.is_sound("min_ready") && table.is_sound("deadline") {
        let message = "no instance could count in time: `min_ready` is not below `deadline`";
        let key = if table.is_written("min_ready") {
            "min_ready"
        } else {
            "deadline"
        };
        mistakes.add(Mistake::new(table.span(key), message));
    }
}

fn strategy(
    service: &Table,
    table: &Table,
    env: &Env<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Strategy {
    match table.value("strategy") {
        StrategyName::Rolling => rolling(service, table, mistakes),
        StrategyName::BlueGreen => Strategy::BlueGreen(Blue {
            keep: table.value("keep"),
            preview: table
                .get("preview")
                .and_then(|preview| audience(preview, mistakes)),
            smoke: argv(table, "smoke", (env, Given::PreviewUrl), mistakes),
            approve: table.value("approve"),
            steps: steps(table, mistakes),
        }),
        StrategyName::Canary => Strategy::Canary {
            steps: steps(table, mistakes),
        },
        StrategyName::Recreate => Strategy::Recreate,
    }
}

fn rolling(service: &Table, table: &Table, mistakes: &mut Mistakes<'_>) -> Strategy {
    let replicas = number(service, "replicas");
    let surge: Count = table.value("surge");
    let max_unavailable: Count = table.value("max_unavailable");
    let batch: Option<Count> = table.get("batch");
    if surge.up(replicas) == 0 && max_unavailable.down(replicas) == 0 {
        let message = match max_unavailable {
            Count::Part(share) if share != Share::NONE => format!(
                "nothing could ever be replaced: `surge` is 0 and {share} of {replicas} replicas, \
                 rounded down, is 0"
            ),
            Count::Absolute(_) | Count::Part(_) => {
                "nothing could ever be replaced: `surge` and `max_unavailable` are both 0"
                    .to_owned()
            }
        };
        let mistake = Mistake::new(table.span("surge"), message);
        mistakes.add(mistake.hint("set one of them to 1"));
    }
    if batch.is_some_and(|batch| batch.up(replicas) == 0) {
        let mistake = Mistake::new(table.span("batch"), "a `batch` of 0 replaces nothing");
        mistakes.add(mistake.expected("at least 1"));
    }
    Strategy::Rolling {
        surge,
        max_unavailable,
        batch,
    }
}

/// Who is meant by an audience or a preview; `None` only after a mistake.
pub(super) fn audience(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<Audience> {
    let value = table.get("value").or_else(|| part(table, mistakes));
    let has = |name: &str| table.section.field(name).is_some();
    let host: Option<String> = has("host").then(|| table.get("host")).flatten();
    let cookie: Option<String> = has("cookie").then(|| table.get("cookie")).flatten();
    let header: Option<String> = table.get("header");
    if let Some(host) = host {
        return Some(Audience::Host(host));
    }
    if !table.is_written("value") && table.is_written("header") && has("host") {
        let message = format!("`value` is missing in {}", table.path);
        let mistake = Mistake::missing(table.span.clone(), message);
        mistakes.add(mistake.hint("add `value = \"secret:STAFF\"`"));
    }
    match (header, cookie) {
        (Some(name), _) => value.map(|value| Audience::Header { name, value }),
        (None, Some(name)) => value.map(|value| Audience::Cookie { name, value }),
        (None, None) => None,
    }
}

/// The share of a header's or cookie's values that belong to an audience.
fn part(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<AudienceValue> {
    table.section.field("percent")?;
    let share: Share = table.get("percent")?;
    if share == Share::NONE {
        let mistake = Mistake::new(table.span("percent"), "an audience of 0% is nobody");
        mistakes.add(mistake.hint("leave `audience` out"));
        return None;
    }
    Some(AudienceValue::Part(share))
}

/// The checks; `None` only after a mistake.
fn checks(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<Vec<Check>> {
    let tables: &[Table] = table.get("checks")?;
    let checks = tables.iter().filter_map(|table| check(table, mistakes));
    Some(checks.collect())
}

fn check(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<Check> {
    let keys = ["max", "max_delta", "max_ratio"];
    if !keys.iter().any(|key| table.is_written(key)) {
        let message = format!("{} has no bound", table.path);
        let mistake = Mistake::missing(table.span.clone(), message)
            .expected("at least one of `max`, `max_delta`, `max_ratio`");
        mistakes.add(mistake);
    }
    let metric: Metric = table.get("metric")?;
    let max = bound(table, "max", metric, mistakes).map(Limit::Max);
    let delta = bound(table, "max_delta", metric, mistakes).map(Limit::MaxDelta);
    let ratio = table.get::<u64>("max_ratio");
    let ratio = ratio.map(|ratio| Limit::MaxRatio(u32::try_from(ratio).expect("declared to fit")));
    Some(Check {
        metric,
        limits: [max, delta, ratio].into_iter().flatten().collect(),
    })
}

/// A bound in the metric's own unit.
fn bound(table: &Table, key: &str, metric: Metric, mistakes: &mut Mistakes<'_>) -> Option<u64> {
    let bound: Bound = table.get(key)?;
    let (expected, value) = match (metric, bound) {
        (Metric::ErrorRate, Bound::Share(share)) => return Some(share.basis_points().into()),
        (Metric::ErrorRate, Bound::Duration(_)) => ("a percentage such as \"1%\"", "a duration"),
        (
            Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP95 | Metric::LatencyP99,
            Bound::Duration(duration),
        ) => return u64::try_from(duration.as_micros()).ok(),
        (
            Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP95 | Metric::LatencyP99,
            Bound::Share(_),
        ) => ("a duration such as \"800ms\"", "a percentage"),
    };
    let message = format!("`{key}` is {value}, which does not fit the metric");
    let mistake = Mistake::new(table.span(key), message).expected(expected);
    mistakes.add(mistake.related(table.span("metric"), "the metric"));
    None
}
