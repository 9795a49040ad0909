//! An index less, at contract: the older version may need it to be fast enough.

use crate::file::{Fields, Text};

/// An index less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIndex {
    /// Its name.
    pub name: Text,
}

impl DropIndex {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        Some(Self {
            name: fields.text("name")?,
        })
    }
}
