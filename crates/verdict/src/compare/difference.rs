//! One request: what differs in the new answer, and what is noise.

use std::collections::BTreeMap;

use model::{Compare, DifferenceKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{self, Differences};

/// What became of a copy.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A whole answer.
    Answer(Answer),
    /// None; says why in a word.
    Nothing(&'static str),
}

/// A whole answer, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The values of the headers that are compared, in the rule's order.
    pub headers: Vec<Option<Vec<u8>>>,
    /// The body.
    pub body: Body,
}

/// A body, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A JSON document.
    Json(Value),
    /// Anything else, and what is too long to be kept.
    Opaque {
        /// Its length.
        bytes: u64,
        /// The same for the same bytes.
        digest: u64,
    },
}

/// Both sides of a difference, with kinds and lengths in place of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Example {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// What one request showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Fields in which the old answers differ from each other.
    pub(crate) noise: BTreeMap<String, DifferenceKind>,
    /// Fields in which the new answer differs from both, and they agree.
    pub(crate) differences: Differences,
}

/// Compares a request's three answers. `None`: the old release did not answer twice, which
/// says nothing about the new one.
#[must_use]
pub fn compare(rule: &Compare, olds: [&Reply; 2], new: &Reply) -> Option<Found> {
    let [Reply::Answer(first), Reply::Answer(second)] = olds else {
        return None;
    };
    let noise = diff(rule, first, second);
    let mut found = Found::default();
    match new {
        Reply::Nothing(why) => {
            let example = example("whole".to_owned(), (*why).to_owned());
            let answer = (DifferenceKind::Shape, example);
            found.differences.insert("answer".to_owned(), answer);
        }
        Reply::Answer(new) => {
            let mut others = diff(rule, second, new);
            for (field, (kind, example)) in diff(rule, first, new) {
                let Some((other, _)) = others.remove(&field) else {
                    continue;
                };
                let kind = kind.max(other);
                if !is_noise(&noise, &field, kind) {
                    found.differences.insert(field, (kind, example));
                }
            }
        }
    }
    found.noise = noise
        .into_iter()
        .map(|(field, (kind, _))| (field, kind))
        .collect();
    let is_ignored = |field: &str| rule.ignore.iter().any(|own| is_within(field, own));
    found.differences.retain(|field, _| !is_ignored(field));
    found.noise.retain(|field, _| !is_ignored(field));
    Some(found)
}

fn diff(rule: &Compare, old: &Answer, new: &Answer) -> Differences {
    let mut found = Differences::new();
    if old.status != new.status {
        let example = example(old.status.to_string(), new.status.to_string());
        // What a different answer says differs, too, and says no more.
        found.insert("status".to_owned(), (DifferenceKind::Value, example));
        return found;
    }
    let headers = rule
        .headers
        .iter()
        .zip(old.headers.iter().zip(&new.headers));
    for (name, (old, new)) in headers {
        let kind = match (old, new) {
            (old, new) if old == new => continue,
            (Some(_), Some(_)) => DifferenceKind::Value,
            (Some(_) | None, _) => DifferenceKind::Shape,
        };
        let shown = |value: &Option<Vec<u8>>| match value {
            Some(value) => format!("string({})", value.len()),
            None => "missing".to_owned(),
        };
        let example = example(shown(old), shown(new));
        found.insert(format!("header {name}"), (kind, example));
    }
    match (&old.body, &new.body) {
        (Body::Json(old), Body::Json(new)) => json::diff("body", old, new, &mut found),
        (old, new) if old == new => {}
        (old, new) => {
            let kind = match (old, new) {
                (Body::Opaque { .. }, Body::Opaque { .. }) => DifferenceKind::Value,
                (Body::Json(_) | Body::Opaque { .. }, _) => DifferenceKind::Shape,
            };
            found.insert("body".to_owned(), (kind, example(show(old), show(new))));
        }
    }
    found
}

fn show(body: &Body) -> String {
    match body {
        Body::Json(value) => format!("json {}", json::show(value)),
        Body::Opaque { bytes, .. } => format!("{bytes} bytes"),
    }
}

fn example(old: String, new: String) -> Example {
    Example { old, new }
}

/// Whether a difference is explained by what differs between the old answers: the same field, or
/// one around it that is there in only one of them. A value that varies does not explain why a
/// field is missing.
fn is_noise(noise: &Differences, field: &str, kind: DifferenceKind) -> bool {
    noise.iter().any(|(noisy, (noisy_kind, _))| {
        let covers = *noisy_kind == DifferenceKind::Shape && is_within(field, noisy);
        let same = noisy == field && *noisy_kind <= kind;
        covers || same || noisy == "status"
    })
}

/// Whether a field is `outer` or lies within it.
fn is_within(field: &str, outer: &str) -> bool {
    field
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
