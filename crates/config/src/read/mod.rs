//! Reads the parsed text by the declarations: every key known, every value of its form.

mod command;
mod number;
mod tables;
mod text;
mod wording;

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::declare::{Field, HEADERS, Kind, Presence, Section};
use crate::diagnostic::{Mistake, Mistakes, Span, nearest};
use crate::value::{Entry, Table, Value};
use number::{count, number, port, whole};
use tables::{DATABASES, SERVICES};
use wording::{expected, hint_for, join, quoted, shown, within};

type Written<'t> = &'t Spanned<DeValue<'t>>;

/// A key with its place, for messages.
struct Key<'k> {
    name: &'k str,
    path: String,
    span: Span,
}

/// Reads one text.
pub(crate) struct Reader<'r, 'a> {
    text: &'a str,
    mistakes: &'r mut Mistakes<'a>,
}

impl<'r, 'a> Reader<'r, 'a> {
    pub(crate) fn new(text: &'a str, mistakes: &'r mut Mistakes<'a>) -> Self {
        Self { text, mistakes }
    }

    /// Reads the whole document.
    pub(crate) fn root(&mut self, section: &'static Section, document: &DeTable<'_>) -> Table {
        self.table(section, document, (String::new(), 0..0))
    }

    fn table(
        &mut self,
        section: &'static Section,
        written: &DeTable<'_>,
        (path, span): (String, Span),
    ) -> Table {
        for (key, value) in written.iter() {
            if section.field(key.get_ref()).is_none() {
                self.unknown_key(section, key, &path);
                // It may be the one of a secret, misspelt.
                if section.holds_secrets() {
                    self.mistakes.conceal(value.span());
                }
            }
        }
        self.check_needs(section, written, &path);
        for names in section.one_of {
            self.check_one_of(names, written, (&path, &span));
        }
        let entries = section.fields.iter().map(|field| {
            let entry = match written.get_key_value(field.name) {
                Some((key, value)) => self.written_entry(field, (key.span(), value), &path),
                None => self.absent_entry(field, (&path, &span)),
            };
            (field.name, entry)
        });
        let entries: BTreeMap<_, _> = entries.collect();
        Table {
            section,
            path,
            span,
            entries,
        }
    }

    fn written_entry(
        &mut self,
        field: &Field,
        (key_span, value): (Span, Written<'_>),
        path: &str,
    ) -> Entry {
        let key = Key {
            name: field.name,
            path: join(path, field.name),
            span: key_span.clone(),
        };
        let read = self.value(field.kind, value, &key);
        Entry {
            written: Some((key_span, value.span())),
            sound: read.is_some(),
            value: read.or_else(|| self.default(field, (path, &value.span()))),
        }
    }

    fn absent_entry(&mut self, field: &Field, (path, span): (&str, &Span)) -> Entry {
        if let Presence::Required { example } = field.presence {
            let message = format!("`{}` is missing{}", field.name, within(path));
            let add = match field.kind {
                Kind::Services(_) => "add a `[service.NAME]` table".to_owned(),
                _ => format!("add `{} = {example}`", field.name),
            };
            self.mistakes
                .add(Mistake::missing(span.clone(), message).hint(add));
        }
        Entry {
            written: None,
            sound: true,
            value: self.default(field, (path, span)),
        }
    }

    /// The value that holds when the key is absent, placed at `span`.
    fn default(&mut self, field: &Field, (path, span): (&str, &Span)) -> Option<Value> {
        let Presence::Default(text) = field.presence else {
            return None;
        };
        if let Kind::Table(section) = field.kind {
            let place = (join(path, field.name), span.clone());
            return Some(Value::Table(self.table(section, &DeTable::new(), place)));
        }
        let mut mistakes = Mistakes::new(text, "a default");
        let key = Key {
            name: field.name,
            path: join(path, field.name),
            span: 0..0,
        };
        let parsed = DeValue::parse(text).expect("defaults are TOML");
        let value = Reader::new(text, &mut mistakes).value(field.kind, &parsed, &key);
        Some(value.expect("defaults have the form of their key"))
    }

    fn unknown_key(&mut self, section: &Section, key: &Spanned<impl AsRef<str>>, path: &str) {
        let name = key.get_ref().as_ref();
        let message = format!("unknown key `{}`{}", shown(name), within(path));
        let names: Vec<&str> = section.names().collect();
        let elsewhere = || {
            let (header, _) = HEADERS
                .iter()
                .find(|(_, other)| other.field(name).is_some())?;
            Some(format!("`{name}` belongs in {header}"))
        };
        let hint = nearest(name, names.iter().copied())
            .map(|near| format!("did you mean `{near}`?"))
            .or_else(elsewhere);
        let mistake = Mistake::new(key.span(), message)
            .expected(format!("one of {}", names.join(", ")))
            .hint_if(hint);
        self.mistakes.add(mistake);
    }

    fn check_needs(&mut self, section: &Section, written: &DeTable<'_>, path: &str) {
        for field in section.fields {
            let Some((key, _)) = written.get_key_value(field.name) else {
                continue;
            };
            if let Some(other) = field.needs.filter(|&other| !written.contains_key(other)) {
                let message = format!("`{}` needs `{other}`{}", field.name, within(path));
                self.mistakes.add(Mistake::missing(key.span(), message));
            }
        }
    }

    fn check_one_of(
        &mut self,
        names: &[&'static str],
        written: &DeTable<'_>,
        (path, span): (&str, &Span),
    ) {
        let present: Vec<Span> = names
            .iter()
            .filter_map(|&name| written.get_key_value(name))
            .map(|(key, _)| key.span())
            .collect();
        let expected = format!("exactly one of {}", quoted(names));
        match present.as_slice() {
            [] => {
                let message = format!("{path} has none of {}", quoted(names));
                let mistake = Mistake::missing(span.clone(), message);
                self.mistakes.add(mistake.expected(expected));
            }
            [_] => {}
            [first, others @ ..] => {
                for other in others {
                    let message = format!("{path} has more than one of {}", quoted(names));
                    let mistake = Mistake::new(other.clone(), message).expected(&expected);
                    self.mistakes
                        .add(mistake.related(first.clone(), "the first one"));
                }
            }
        }
    }

    /// Reads a value; `None` after reporting why it is not of its kind.
    fn value(&mut self, kind: Kind, written: Written<'_>, key: &Key<'_>) -> Option<Value> {
        let value = written.get_ref();
        let read = match kind {
            Kind::Flag => value.as_bool().map(Value::Flag),
            Kind::Present => value.as_bool().filter(|&there| there).map(Value::Flag),
            Kind::Whole { min, max } => whole(value)
                .filter(|number| (min..=max).contains(number))
                .map(Value::Whole),
            Kind::Decimal { places, min, max } => number(value, places)
                .filter(|number| (min..=max).contains(number))
                .map(Value::Whole),
            Kind::Count => count(value).map(Value::Count),
            Kind::Port => port(value).map(Value::Port),
            Kind::Text(form) => return self.text(form, written, key),
            Kind::List(form) => return self.list(form, written, key),
            Kind::Map(form) => return self.map(form, written, key),
            Kind::Command => return self.command(written, key),
            Kind::Either(_, section) if value.is_table() => {
                return self.nested(section, written, key);
            }
            Kind::Either(form, _) => return self.text(form, written, key),
            Kind::Table(section) => return self.nested(section, written, key),
            Kind::Tables(section) => return self.tables(section, written, key),
            Kind::Services(section) => return self.named((section, &SERVICES), written, key),
            Kind::Databases(section) => return self.named((section, &DATABASES), written, key),
        };
        if read.is_none() {
            self.refuse(kind, written, key);
        }
        read
    }

    fn refuse(&mut self, kind: Kind, written: Written<'_>, key: &Key<'_>) {
        let refused = self.refused(kind, written, key);
        self.mistakes.add(refused);
    }

    /// The mistake of a value that is not of its kind.
    fn refused(&mut self, kind: Kind, written: Written<'_>, key: &Key<'_>) -> Mistake {
        let described = if kind.is_secret() {
            self.mistakes.conceal(written.span());
            "what is written here".to_owned()
        } else {
            self.described(written)
        };
        let message = format!("`{}` cannot be {described}", key.name);
        let span = if written.span().is_empty() {
            key.span.clone()
        } else {
            written.span()
        };
        Mistake::new(span, message)
            .expected(expected(kind))
            .hint_if(hint_for(kind, written.get_ref()))
    }

    /// What stands in the file, short enough for a message.
    fn described(&self, written: Written<'_>) -> String {
        match written.get_ref() {
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                shown(self.text.get(written.span()).unwrap_or_default().trim())
            }
        }
    }
}
