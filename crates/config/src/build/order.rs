//! The order of services: `after` names others, and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use model::ServiceName;

use crate::diagnostic::{Mistake, Mistakes, Span, did_you_mean};
use crate::value::{Item, Table, Value};

type After<'s> = BTreeMap<&'s ServiceName, Vec<(&'s ServiceName, Span)>>;

/// Refuses unknown services in `after`, and circles.
pub(super) fn check(services: &[(ServiceName, Table)], mistakes: &mut Mistakes<'_>) {
    let mut after: After<'_> = services
        .iter()
        .map(|(name, table)| (name, named(table)))
        .collect();
    let known: BTreeSet<&ServiceName> = after.keys().copied().collect();
    for others in after.values_mut() {
        others.retain(|(other, span)| {
            let is_known = known.contains(other);
            if !is_known {
                mistakes.add(unknown(other, span, &known));
            }
            is_known
        });
    }
    let lockstep: BTreeSet<&ServiceName> = services
        .iter()
        .filter(|(_, table)| table.value("lockstep"))
        .map(|(name, _)| name)
        .collect();
    for name in &lockstep {
        if let Some((other, span)) = waits_for(name, &lockstep, &after) {
            mistakes.add(entangled(name, other, span));
        }
    }
    while let Some(circle) = circle(&mut after) {
        mistakes.add(refuse(&circle));
        for (name, _) in circle {
            after.remove(name);
        }
    }
}

fn named(table: &Table) -> Vec<(&ServiceName, Span)> {
    let items = table.get::<&[Item<Value>]>("after").unwrap_or_default();
    let names = items.iter().filter_map(|item| match &item.value {
        Value::Name(name) => Some((name, item.span.clone())),
        _ => None,
    });
    names.collect()
}

fn unknown(name: &ServiceName, span: &Span, known: &BTreeSet<&ServiceName>) -> Mistake {
    let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    Mistake::missing(span.clone(), format!("there is no service `{name}`"))
        .expected(format!("one of {}", names.join(", ")))
        .hint_if(did_you_mean(name.as_str(), names))
}

/// Another lockstep service whose end `name` waits for, and where it says so.
fn waits_for<'s>(
    name: &ServiceName,
    lockstep: &BTreeSet<&ServiceName>,
    after: &After<'s>,
) -> Option<(&'s ServiceName, Span)> {
    let begin = after.get(name)?;
    for (first, span) in begin {
        let mut seen: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut ahead = vec![*first];
        while let Some(next) = ahead.pop() {
            if next != name && lockstep.contains(next) {
                return Some((next, span.clone()));
            }
            if seen.insert(next) {
                let others = after.get(next).into_iter().flatten();
                ahead.extend(others.map(|(other, _)| *other));
            }
        }
    }
    None
}

fn entangled(name: &ServiceName, other: &ServiceName, span: Span) -> Mistake {
    let message = format!(
        "`{name}` waits for the end of `{other}`, and in lockstep neither ends before the other"
    );
    Mistake::new(span, message).hint("take one of them out of lockstep, or out of `after`")
}

/// Takes away the services that wait for no circle, then follows one that is left.
///
/// Each step of the circle is a service and where it names the next.
fn circle<'s>(after: &mut After<'s>) -> Option<Vec<(&'s ServiceName, Span)>> {
    loop {
        let left: BTreeSet<&ServiceName> = after.keys().copied().collect();
        after.retain(|_, others| {
            others.retain(|(other, _)| left.contains(other));
            !others.is_empty()
        });
        if after.len() == left.len() {
            break;
        }
    }
    let (mut name, _) = after.first_key_value()?;
    let mut walked: Vec<(&ServiceName, Span)> = Vec::new();
    loop {
        if let Some(begin) = walked.iter().position(|(seen, _)| seen == name) {
            return Some(walked.split_off(begin));
        }
        let (next, span) = after.get(name).and_then(|others| others.first())?;
        walked.push((*name, span.clone()));
        name = next;
    }
}

fn refuse(circle: &[(&ServiceName, Span)]) -> Mistake {
    let names: Vec<&str> = circle.iter().map(|(name, _)| name.as_str()).collect();
    let (first, span) = &circle[0];
    let path = names.join(" → ");
    let message = match names.as_slice() {
        [only] => format!("`{only}` waits for itself"),
        _ => format!("services wait for each other: {path} → {first}"),
    };
    Mistake::new(span.clone(), message).hint("take one of them out of `after`")
}
