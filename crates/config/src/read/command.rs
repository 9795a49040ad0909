//! Command lines: a string that is split, or a list of words.

use toml::de::{DeArray, DeValue};

use super::wording::{expected, shown};
use super::{Key, Reader, Written};
use crate::declare::Kind;
use crate::diagnostic::{Mistake, Span};
use crate::form::{Refused, split};
use crate::value::{Item, Value};

impl Reader<'_, '_> {
    pub(super) fn command(&mut self, written: Written<'_>, key: &Key<'_>) -> Option<Value> {
        let words = match written.get_ref() {
            DeValue::String(text) if text.contains('\0') => None,
            DeValue::String(text) => return self.command_line(text, written.span(), key),
            DeValue::Array(elements) => command_words(elements),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => None,
        };
        if words.is_none() {
            self.refuse(Kind::Command, written, key);
        }
        words.map(Value::Command)
    }

    fn command_line(&mut self, text: &str, span: Span, key: &Key<'_>) -> Option<Value> {
        // Bytes of the text are bytes of the file unless it is written with escapes.
        let content = self.text.get(span.start + 1..span.end.saturating_sub(1));
        let place = |range: &Span| match content {
            Some(content) if content == text => {
                span.start + 1 + range.start..span.start + 1 + range.end
            }
            Some(_) | None => span.clone(),
        };
        match split(text) {
            Ok(words) => {
                let items = words.into_iter().map(|word| Item {
                    span: place(&word.range),
                    value: word.text,
                });
                Some(Value::Command(items.collect()))
            }
            Err(refused) => {
                self.mistakes
                    .add(refused_command(key.name, text, &refused, place));
                None
            }
        }
    }
}

fn refused_command(
    name: &str,
    text: &str,
    refused: &Refused,
    place: impl Fn(&Span) -> Span,
) -> Mistake {
    match refused {
        Refused::Empty => Mistake::new(place(&(0..text.len())), format!("`{name}` names no program"))
            .expected(expected(Kind::Command)),
        Refused::Unbalanced(range) => Mistake::new(
            place(range),
            format!("`{name}` has a `{}` that is never closed", &text[range.clone()]),
        ),
        Refused::Shell(range) => Mistake::new(
            place(range),
            format!("`{}` means nothing here, since no shell is involved", &text[range.clone()]),
        )
        .hint(format!(
            "quote it if it is meant as it stands, or name the shell: `{name} = [\"sh\", \"-c\", \"…\"]`"
        )),
        Refused::Assignment(range) => Mistake::new(
            place(range),
            format!("`{}` sets nothing here, since no shell is involved", shown(&text[range.clone()])),
        )
        .hint("set it in `env`"),
    }
}

fn command_words(elements: &DeArray<'_>) -> Option<Vec<Item<String>>> {
    let words: Option<Vec<Item<String>>> = elements
        .iter()
        .map(|element| {
            let text = element
                .get_ref()
                .as_str()
                .filter(|text| !text.contains('\0'))?;
            Some(Item {
                value: text.to_owned(),
                span: element.span(),
            })
        })
        .collect();
    words.filter(|words| words.first().is_some_and(|word| !word.value.is_empty()))
}
