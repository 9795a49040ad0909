//! A person's own SQL: run as it is, in a migration of its own.

use model::diagnostic::Mistake;

use crate::file::{Fields, Text};

/// A person's own SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// What it does.
    pub up: Text,
    /// What takes it back.
    pub down: Option<Text>,
    /// Whether it waits until no older version is left.
    pub on_complete: bool,
}

impl Sql {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (up, down) = (fields.text("up"), fields.text_if("down"));
        let on_complete = fields.is_set("onComplete");
        if let (Some(down), true) = (&down, on_complete) {
            let message = "what runs at contract cannot be taken back";
            let hint = "leave `down` or `onComplete` out";
            fields
                .mistakes()
                .add(Mistake::new(down.span.clone(), message).hint(hint));
        }
        Some(Self {
            up: up?,
            down,
            on_complete,
        })
    }
}
