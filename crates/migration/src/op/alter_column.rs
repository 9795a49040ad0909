//! Another type, nullability, default, comment or constraint of a column.

use model::diagnostic::Mistake;

use super::part::{CheckSpec, ReferenceSpec, within};
use crate::file::{Choice, Fields, Placed, Text};

/// What changes about a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: Text,
    /// Another type.
    pub data_type: Option<Text>,
    /// Whether it takes NULL, if that changes.
    pub nullable: Option<Placed<bool>>,
    /// Another default, or none.
    pub default: Choice,
    /// Another comment, or none.
    pub comment: Choice,
    /// The name of a new unique constraint.
    pub unique: Option<Text>,
    /// A new check.
    pub check: Option<CheckSpec>,
    /// A new foreign key.
    pub references: Option<ReferenceSpec>,
    /// The new version's value, from the old one's row.
    pub up: Option<Text>,
    /// The old version's value, from the new one's row.
    pub down: Option<Text>,
}

impl AlterColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, column) = (fields.text("table"), fields.text("column"));
        let data_type = fields.text_if("type");
        let nullable = fields.flag("nullable");
        let (default, comment) = (fields.choice("default"), fields.choice("comment"));
        let unique = within(fields, "unique", |fields| fields.text("name"));
        let check = within(fields, "check", CheckSpec::read);
        let references = within(fields, "references", ReferenceSpec::read);
        let (up, down) = (fields.text_if("up"), fields.text_if("down"));
        let (table, column) = (table?, column?);
        let changes = data_type.is_some()
            || nullable.is_some()
            || default != Choice::Keep
            || comment != Choice::Keep
            || unique.is_some()
            || check.is_some()
            || references.is_some();
        if !changes {
            let message = format!("nothing about `{}` changes", column.value);
            fields
                .mistakes()
                .add(Mistake::missing(column.span.clone(), message));
        }
        Some(Self {
            table,
            column,
            data_type,
            nullable,
            default,
            comment,
            unique,
            check,
            references,
            up,
            down,
        })
    }
}
