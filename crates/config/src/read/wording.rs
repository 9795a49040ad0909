//! What messages say about kinds of values, and how they show the user's text.

use model::diagnostic::without_passwords;
use toml::de::DeValue;

use crate::declare::{Kind, Section};
use crate::form::TEXT;

/// The most characters of a wrong value that a message repeats.
const SHOWN_MAX: usize = 40;

/// The wording after "expected" for a kind of value.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Present => "true".to_owned(),
        Kind::Whole { min, max } if min == max => min.to_string(),
        Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Decimal { places, min, max } => {
            let one = 10_u64.pow(places);
            let bound = |units: u64| {
                let width = usize::try_from(places).expect("a few places");
                let text = format!("{}.{:0width$}", units / one, units % one);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            };
            let (min, max) = (bound(min), bound(max));
            format!("a number from {min} to {max} with at most {places} decimals")
        }
        Kind::Text(form) => form.expected.to_owned(),
        Kind::List(form) => format!("a list, each element {}", form.expected),
        Kind::Map(_) => "a table of strings, such as { LOG = \"info\" }".to_owned(),
        Kind::Count => "a whole number up to 1000, or a percentage such as \"25%\"".to_owned(),
        Kind::Port => "a port from 1 to 65535, or false".to_owned(),
        Kind::Command => {
            "a command, such as \"./bin/web --port $PORT\" or a list of its words".to_owned()
        }
        Kind::Either(form, section) => {
            format!("{}, or a table with {}", form.expected, names(section))
        }
        Kind::Table(section) => format!("a table with {}", names(section)),
        Kind::Tables(section) => format!("a list of tables with {}", names(section)),
        Kind::Services(_) => "tables by name, such as [service.web]".to_owned(),
        Kind::Databases(_) => "tables by name, such as [database.main]".to_owned(),
    }
}

/// What to write instead of a value of the wrong type.
pub(super) fn hint_for(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Port, DeValue::Boolean(true)) => {
            Some("leave `port` out: one is assigned and given as $PORT".to_owned())
        }
        (Kind::List(form), DeValue::String(text))
            if form.parse(text).is_ok() && !form.is_secret =>
        {
            Some(format!("write `[\"{text}\"]`"))
        }
        (Kind::Whole { .. } | Kind::Decimal { .. } | Kind::Flag, DeValue::String(text)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
            let is_plain = !text.is_empty() && text.chars().all(plain) && TEXT.parse(text).is_ok();
            is_plain.then(|| format!("write `{text}` without quotes"))
        }
        (Kind::Count, DeValue::String(text)) => {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| format!("write `{text}` without quotes, or `\"{text}%\"`"))
        }
        _ => None,
    }
}

fn names(section: &Section) -> String {
    let names: Vec<&str> = section.names().collect();
    names.join(", ")
}

pub(super) fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

pub(super) fn within(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A text of the user's, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    let text = without_passwords(text);
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.replace(|c: char| c.is_control(), " ")
}
