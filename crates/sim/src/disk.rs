//! The journal's disk.

use std::collections::BTreeMap;

use model::Epoch;

/// What was written, and whether more can be.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    entries: BTreeMap<String, String>,
    epoch: Epoch,
    /// Full until then.
    pub(crate) full_until: u64,
    /// Something could not be written and happened all the same.
    pub(crate) owes: bool,
}

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No space.
    Full,
    /// A newer worker writes.
    Fenced,
}

impl Disk {
    pub(crate) fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    pub(crate) fn is_full(&self, now: u64) -> bool {
        now < self.full_until
    }

    /// Writes a batch as one.
    pub(crate) fn write(
        &mut self,
        now: u64,
        epoch: Epoch,
        entries: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Refused> {
        if epoch < self.epoch {
            return Err(Refused::Fenced);
        }
        if self.is_full(now) {
            return Err(Refused::Full);
        }
        self.epoch = epoch;
        self.owes = false;
        for (key, text) in entries {
            match text {
                Some(text) => self.entries.insert(key.clone(), text.clone()),
                None => self.entries.remove(key),
            };
        }
        Ok(())
    }
}
