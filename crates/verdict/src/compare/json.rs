//! What differs between two JSON documents, by the paths of their fields.

use std::collections::BTreeMap;

use model::DifferenceKind;
use serde_json::{Number, Value};

use super::difference::Example;
use super::template::name;

/// Fields in which two documents may differ; more are not looked for.
const FIELDS_MAX: usize = 128;
/// A field with a longer path is compared as a whole.
const PATH_BYTES_MAX: usize = 240;

/// The differences found so far.
pub(crate) type Differences = BTreeMap<String, (DifferenceKind, Example)>;

/// Adds what differs between two documents under `path`.
pub(crate) fn diff(path: &str, old: &Value, new: &Value, found: &mut Differences) {
    if found.len() >= FIELDS_MAX {
        return;
    }
    let is_deep = path.len() >= PATH_BYTES_MAX;
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if !is_deep => {
            for key in old
                .keys()
                .chain(new.keys().filter(|key| !old.contains_key(*key)))
            {
                let path = format!("{path}.{}", name(key.as_bytes()));
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => diff(&path, old, new, found),
                    (old, new) => note(path, DifferenceKind::Shape, example(old, new), found),
                }
            }
        }
        (Value::Array(olds), Value::Array(news)) if !is_deep => {
            if olds.len() != news.len() {
                let example = example(Some(old), Some(new));
                note(path.to_owned(), DifferenceKind::Value, example, found);
            }
            let path = format!("{path}[]");
            for (old, new) in olds.iter().zip(news) {
                diff(&path, old, new, found);
            }
        }
        _ if is_same(old, new) => {}
        _ => {
            let kind = if kind(old) == kind(new) {
                DifferenceKind::Value
            } else {
                DifferenceKind::Shape
            };
            note(path.to_owned(), kind, example(Some(old), Some(new)), found);
        }
    }
}

/// Of several differences at the same path a shape's says more than a value's.
fn note(path: String, kind: DifferenceKind, example: Example, found: &mut Differences) {
    match found.get_mut(&path) {
        Some(known) if kind < known.0 => *known = (kind, example),
        Some(_) => {}
        None => {
            found.insert(path, (kind, example));
        }
    }
}

fn is_same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) => is_same_number(old, new),
        _ => old == new,
    }
}

/// `1` and `1.0` are the same number.
fn is_same_number(old: &Number, new: &Number) -> bool {
    old == new || ((old.is_f64() || new.is_f64()) && old.as_f64() == new.as_f64())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn example(old: Option<&Value>, new: Option<&Value>) -> Example {
    let shown = |value: Option<&Value>| value.map_or_else(|| "missing".to_owned(), show);
    Example {
        old: shown(old),
        new: shown(new),
    }
}

/// What a value is, and how long, but nothing of what it says.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => kind(value).to_owned(),
        Value::String(text) => format!("string({})", text.chars().count()),
        Value::Array(items) => format!("array({})", items.len()),
        Value::Object(fields) => format!("object({})", fields.len()),
    }
}
