//! Strings of a form: alone, in lists, and in tables with the user's own keys.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::wording::{join, shown};
use super::{Key, Reader, Written};
use crate::declare::Kind;
use crate::diagnostic::{Mistake, Span};
use crate::form::Form;
use crate::value::{Item, Pair, Value};

/// The most elements of a list.
const LIST_MAX: usize = 100;

impl Reader<'_, '_> {
    pub(super) fn text(
        &mut self,
        form: &'static Form,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let parsed = match written.get_ref().as_str() {
            Some(text) => form.parse(text),
            // A number without its unit: the form knows what to write instead.
            None => match number_text(written.get_ref()) {
                Some(text) => Err(form.parse(text).err().flatten()),
                None => Err(None),
            },
        };
        match parsed {
            Ok(value) => Some(value),
            Err(hint) => {
                let refused = self.refused(Kind::Text(form), written, key);
                self.mistakes.add(refused.hint_if(hint));
                None
            }
        }
    }

    pub(super) fn list(
        &mut self,
        form: &'static Form,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(elements) = written.get_ref().as_array() else {
            self.refuse(Kind::List(form), written, key);
            return None;
        };
        if elements.len() > LIST_MAX {
            let message = format!("`{}` has {} elements", key.name, elements.len());
            let mistake = Mistake::new(written.span(), message);
            self.mistakes
                .add(mistake.expected(format!("at most {LIST_MAX}")));
            return None;
        }
        let mut items: Vec<Item<Value>> = Vec::with_capacity(elements.len());
        let mut firsts: BTreeMap<String, Span> = BTreeMap::new();
        for element in elements.iter() {
            let Some(value) = self.text(form, element, key) else {
                continue;
            };
            let text = element.get_ref().as_str().unwrap_or_default().to_owned();
            if let Some(first) = firsts.get(&text) {
                let message = format!("`{}` names {} twice", key.name, self.described(element));
                let mistake = Mistake::new(element.span(), message);
                self.mistakes
                    .add(mistake.related(first.clone(), "the first one"));
                continue;
            }
            firsts.insert(text, element.span());
            let span = element.span();
            items.push(Item { value, span });
        }
        (items.len() == elements.len()).then_some(Value::List(items))
    }

    pub(super) fn map(
        &mut self,
        form: &'static Form,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(table) = written.get_ref().as_table() else {
            self.refuse(Kind::Map(form), written, key);
            return None;
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let key_span = name.span();
            if let Err(hint) = form.parse(name.get_ref()) {
                let message = format!(
                    "`{}` cannot have the key `{}`",
                    key.name,
                    shown(name.get_ref())
                );
                let mistake = Mistake::new(key_span, message).expected(form.expected);
                self.mistakes.add(mistake.hint_if(hint));
                continue;
            }
            let Some(text) = value.get_ref().as_str().filter(|text| !text.contains('\0')) else {
                let path = join(&key.path, name.get_ref());
                self.refuse_in_map(value, &path);
                continue;
            };
            pairs.push(Pair {
                key: name.get_ref().to_string(),
                key_span,
                value: text.to_owned(),
                span: value.span(),
            });
        }
        pairs.sort_by_key(|pair| pair.key_span.start);
        (pairs.len() == table.len()).then_some(Value::Map(pairs))
    }

    fn refuse_in_map(&mut self, value: Written<'_>, path: &str) {
        let described = self.described(value);
        let scalar = !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        let hint = (scalar && value.get_ref().as_str().is_none())
            .then(|| format!("write `\"{described}\"`"));
        let message = format!("`{path}` cannot be {described}");
        let mistake = Mistake::new(value.span(), message).expected("a string without NUL");
        self.mistakes.add(mistake.hint_if(hint));
    }
}

/// A number as written, without underscores.
fn number_text<'t>(value: &'t DeValue<'_>) -> Option<&'t str> {
    match value {
        DeValue::Integer(integer) => (integer.radix() == 10).then_some(integer.as_str()),
        DeValue::Float(float) => Some(float.as_str()),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}
