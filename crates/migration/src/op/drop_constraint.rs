//! A constraint of one column less.

use crate::file::{Fields, Text};

/// A constraint less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropConstraint {
    /// The table.
    pub table: Text,
    /// The constraint.
    pub name: Text,
    /// The new version's value, from the old one's row; the column itself unless given.
    pub up: Option<Text>,
    /// The old version's value, from the new one's row: one that the constraint allows.
    pub down: Option<Text>,
}

impl DropConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, name) = (fields.text("table"), fields.text("name"));
        let (up, down) = (fields.text_if("up"), fields.text_if("down"));
        Some(Self {
            table: table?,
            name: name?,
            up,
            down,
        })
    }
}
