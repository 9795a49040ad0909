//! A new constraint of any number of columns.

use super::part::ConstraintSpec;
use crate::file::{Fields, Text};

/// A new constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConstraint {
    /// The table.
    pub table: Text,
    /// The constraint.
    pub constraint: ConstraintSpec,
    /// The new version's values by column, from the old one's row.
    pub up: Vec<(Text, Text)>,
    /// The old version's values by column, from the new one's row.
    pub down: Vec<(Text, Text)>,
}

impl CreateConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let table = fields.text("table");
        let (up, down) = (fields.named_texts("up"), fields.named_texts("down"));
        let constraint = ConstraintSpec::read(fields)?;
        Some(Self {
            table: table?,
            constraint,
            up,
            down,
        })
    }
}
