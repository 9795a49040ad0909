//! Keys that would do nothing beside what else is there: whoever wrote them expects something.

use std::time::Duration;

use model::{Affinity, HedgeAfter, Share};

use crate::declare::StrategyName;
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::Table;

/// Refuses the keys of a service that do nothing.
pub(super) fn check(service: &Table, mistakes: &mut Mistakes<'_>) {
    let rollout: &Table = service.value("rollout");
    check_data(rollout, mistakes);
    check_jobs(rollout, mistakes);
    check_affinity(rollout, mistakes);
    if service.is_sound("proxy") {
        check_times(service.value("proxy"), mistakes);
        check_hedge(service.value("proxy"), rollout, mistakes);
    }
}

/// What is said of evidence needs something that is judged by it.
fn check_data(rollout: &Table, mistakes: &mut Mistakes<'_>) {
    let checks = rollout.get::<&[Table]>("checks").unwrap_or_default();
    let steps = rollout.get::<&[Table]>("steps").unwrap_or_default();
    let compares = steps.iter().any(|step| step.is_written("compare"));
    if !checks.is_empty() || !rollout.is_sound("checks") || !rollout.is_sound("steps") {
        return;
    }
    let mut refuse = |key: &str, judge: &str| {
        let message = format!("`{key}` does nothing without {judge}");
        let mistake = Mistake::new(rollout.key_span(key), message);
        mistakes.add(mistake.hint("add `checks = [{ metric = \"error_rate\", max = \"1%\" }]`"));
    };
    if is_set(rollout, "min_requests") {
        refuse("min_requests", "`checks`");
    }
    if is_set(rollout, "on_no_data") && !compares {
        refuse("on_no_data", "`checks` or a step with `compare`");
    }
}

fn check_jobs(rollout: &Table, mistakes: &mut Mistakes<'_>) {
    let jobs = ["before", "after", "smoke"];
    if is_set(rollout, "job_timeout") && !jobs.iter().any(|job| rollout.is_written(job)) {
        let message = "`job_timeout` does nothing without `before`, `after` or `smoke`";
        mistakes.add(Mistake::new(rollout.key_span("job_timeout"), message));
    }
}

/// Two releases that never serve at a time leave nothing to keep a user on.
fn check_affinity(rollout: &Table, mistakes: &mut Mistakes<'_>) {
    let strategy: StrategyName = rollout.value("strategy");
    let is_kept = rollout.get::<Affinity>("affinity").is_some();
    if strategy == StrategyName::Recreate && is_kept && !rollout.is_written("stick") {
        let message = "`affinity` keeps users on one of two releases, and recreate never has both";
        let mistake = Mistake::new(rollout.key_span("affinity"), message)
            .hint("add `stick = \"instance\"` to keep each on one instance")
            .related(rollout.span("strategy"), "set here");
        mistakes.add(mistake);
    }
}

/// A time that another one is always over before bounds nothing.
fn check_times(proxy: &Table, mistakes: &mut Mistakes<'_>) {
    let span = |table: &Table, key: &str| {
        let sound = table.is_sound(key);
        table.get::<Duration>(key).filter(|_| sound)
    };
    if let Some(deadline) = proxy.get::<&Table>("deadline")
        && let (Some(attempt), Some(total)) = (span(deadline, "try"), span(deadline, "total"))
        && attempt >= total
    {
        let message = "`try` does nothing: the `total` time is over before";
        let mistake = Mistake::new(deadline.span("try"), message).expected("less than `total`");
        mistakes.add(mistake.related(deadline.span("total"), "set here"));
    }
    let others = ["idle_timeout", "response_timeout"];
    let shortest = others
        .map(|key| span(proxy, key))
        .into_iter()
        .min()
        .flatten();
    if let (Some(silent), Some(shortest)) = (span(proxy, "stream_idle"), shortest)
        && proxy.is_written("stream_idle")
        && silent <= shortest
    {
        let message = "`stream_idle` does nothing: it is not longer than what holds without it";
        let mistake = Mistake::new(proxy.span("stream_idle"), message);
        mistakes.add(mistake.expected("more than `idle_timeout` or `response_timeout`"));
    }
    let queue = proxy
        .get::<&Table>("limits")
        .map(|limits| limits.value::<&Table>("queue"));
    if let Some(queue) = queue
        && is_set(queue, "wait")
        && queue.value::<u64>("length") == 0
        && queue.is_sound("length")
    {
        let mistake = Mistake::new(
            queue.key_span("wait"),
            "nobody waits in a queue of no length",
        );
        mistakes.add(mistake.related(queue.span("length"), "set here"));
    }
}

/// A second attempt that never comes, or that goes where its user is not.
fn check_hedge(proxy: &Table, rollout: &Table, mistakes: &mut Mistakes<'_>) {
    let Some(hedge) = proxy.get::<&Table>("hedge") else {
        return;
    };
    if rollout.is_written("stick") {
        let message = "`hedge` asks another instance, and `stick` keeps each user on one";
        let mistake = Mistake::new(proxy.key_span("hedge"), message);
        mistakes.add(mistake.related(rollout.key_span("stick"), "kept here"));
    }
    if is_set(hedge, "share") && hedge.value::<Share>("share") == Share::NONE {
        let mistake = Mistake::new(hedge.span("share"), "0% of the requests are none");
        mistakes.add(mistake.expected("more than 0%"));
    }
    let HedgeAfter::Time(after) = hedge.value("after") else {
        return;
    };
    let limits = proxy.get::<&Table>("deadline");
    for key in ["try", "total"] {
        let limit = limits.and_then(|limits| limits.get::<Duration>(key).zip(Some(limits)));
        if let Some((limit, limits)) = limit.filter(|(limit, _)| *limit <= after) {
            let message = format!("`after` does nothing: the deadline of {limit:?} is over before");
            let mistake = Mistake::new(hedge.span("after"), message);
            mistakes.add(mistake.related(limits.span(key), "set here"));
        }
    }
}

/// Whether a key is there and rightly so.
fn is_set(table: &Table, key: &str) -> bool {
    table.is_written(key) && table.is_sound(key)
}
