//! What a command said.

use model::Receipt;
use serde_json::Value;

/// How a command ended and what it printed.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// The JSON lines of its standard output.
    pub lines: Vec<Value>,
    /// Its standard error.
    pub errors: String,
}

impl Said {
    /// The receipts among the lines.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        let receipts = self.lines.iter().filter(|line| line["type"] == "receipt");
        receipts
            .filter_map(|line| serde_json::from_value(line.clone()).ok())
            .collect()
    }

    /// The first line, or null.
    #[must_use]
    pub fn first(&self) -> Value {
        self.lines.first().cloned().unwrap_or_default()
    }
}
