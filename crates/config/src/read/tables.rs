//! Tables within tables: one, a list of them, or services and databases by their names.

use model::ServiceName;
use toml::Spanned;

use super::wording::{join, shown};
use super::{Key, Reader, Written};
use crate::declare::{Kind, Section};
use crate::diagnostic::Mistake;
use crate::form::SERVICE_NAME;
use crate::value::Value;

/// Tables by names of the user's.
pub(super) struct Named {
    kind: fn(&'static Section) -> Kind,
    one: &'static str,
    /// At least and at most so many.
    count: (usize, usize),
}

pub(super) const SERVICES: Named = Named {
    kind: Kind::Services,
    one: "service",
    count: (1, 200),
};

pub(super) const DATABASES: Named = Named {
    kind: Kind::Databases,
    one: "database",
    count: (0, 20),
};

impl Reader<'_, '_> {
    pub(super) fn nested(
        &mut self,
        section: &'static Section,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(table) = written.get_ref().as_table() else {
            self.refuse(Kind::Table(section), written, key);
            return None;
        };
        let place = (key.path.clone(), written.span());
        Some(Value::Table(self.table(section, table, place)))
    }

    pub(super) fn tables(
        &mut self,
        section: &'static Section,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(elements) = written.get_ref().as_array() else {
            self.refuse(Kind::Tables(section), written, key);
            return None;
        };
        let mut tables = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let Some(table) = element.get_ref().as_table() else {
                self.refuse(Kind::Tables(section), element, key);
                continue;
            };
            let place = (format!("{}[{index}]", key.path), element.span());
            tables.push(self.table(section, table, place));
        }
        (tables.len() == elements.len()).then_some(Value::Tables(tables))
    }

    pub(super) fn named(
        &mut self,
        (section, named): (&'static Section, &Named),
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(table) = written.get_ref().as_table() else {
            self.refuse((named.kind)(section), written, key);
            return None;
        };
        let Named {
            one,
            count: (least, most),
            ..
        } = *named;
        if table.len() > most {
            let message = format!("the file has {} {one}s", table.len());
            let mistake = Mistake::new(key.span.clone(), message);
            self.mistakes
                .add(mistake.expected(format!("at most {most}")));
            return None;
        }
        let mut tables = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let own = Key {
                name: name.get_ref(),
                path: join(&key.path, name.get_ref()),
                span: name.span(),
            };
            let read = self.nested(section, value, &own);
            match (ServiceName::try_new(name.get_ref()), read) {
                (Ok(name), Some(Value::Table(table))) => tables.push((name, table)),
                (Ok(_), _) => {}
                (Err(_), _) => self.refuse_name(one, name),
            }
        }
        tables.sort_by_key(|(_, table)| table.span.start);
        if table.len() < least {
            let mistake = Mistake::missing(written.span(), format!("the file has no {one}"));
            self.mistakes
                .add(mistake.hint(format!("add a `[{one}.NAME]` table")));
        }
        (tables.len() == table.len()).then_some(Value::Services(tables))
    }

    fn refuse_name(&mut self, one: &str, name: &Spanned<impl AsRef<str>>) {
        let text = name.get_ref().as_ref();
        let message = format!("a {one} cannot be named `{}`", shown(text));
        let hint = SERVICE_NAME.parse(text).err().flatten();
        let mistake = Mistake::new(name.span(), message).expected(SERVICE_NAME.expected);
        self.mistakes.add(mistake.hint_if(hint));
    }
}
