//! Tables within tables: one, a list of them, or the services by their names.

use model::ServiceName;
use toml::Spanned;

use super::wording::{join, shown};
use super::{Key, Reader, Written};
use crate::declare::{Kind, Section};
use crate::diagnostic::Mistake;
use crate::form::SERVICE_NAME;
use crate::value::Value;

/// The most services of a project.
const SERVICES_MAX: usize = 200;

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

    pub(super) fn services(
        &mut self,
        section: &'static Section,
        written: Written<'_>,
        key: &Key<'_>,
    ) -> Option<Value> {
        let Some(table) = written.get_ref().as_table() else {
            self.refuse(Kind::Services(section), written, key);
            return None;
        };
        if table.len() > SERVICES_MAX {
            let message = format!("the file has {} services", table.len());
            let mistake = Mistake::new(key.span.clone(), message);
            self.mistakes
                .add(mistake.expected(format!("at most {SERVICES_MAX}")));
            return None;
        }
        let mut services = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let service = Key {
                name: name.get_ref(),
                path: join(&key.path, name.get_ref()),
                span: name.span(),
            };
            let read = self.nested(section, value, &service);
            match (ServiceName::try_new(name.get_ref()), read) {
                (Ok(name), Some(Value::Table(table))) => services.push((name, table)),
                (Ok(_), _) => {}
                (Err(_), _) => self.refuse_name(name),
            }
        }
        services.sort_by_key(|(_, table)| table.span.start);
        if table.is_empty() {
            let mistake = Mistake::missing(written.span(), "the file has no service");
            self.mistakes
                .add(mistake.hint("add a `[service.NAME]` table"));
        }
        (services.len() == table.len()).then_some(Value::Services(services))
    }

    fn refuse_name(&mut self, name: &Spanned<impl AsRef<str>>) {
        let text = name.get_ref().as_ref();
        let message = format!("a service cannot be named `{}`", shown(text));
        let hint = SERVICE_NAME.parse(text).err().flatten();
        let mistake = Mistake::new(name.span(), message).expected(SERVICE_NAME.expected);
        self.mistakes.add(mistake.hint_if(hint));
    }
}
