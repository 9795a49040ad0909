//! A table less: the new version does not see it, and it goes at contract.

use crate::file::{Fields, Text};

/// A table less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropTable {
    /// Its name.
    pub name: Text,
}

impl DropTable {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        Some(Self {
            name: fields.text("name")?,
        })
    }
}
