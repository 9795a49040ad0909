//! How much of its release's traffic an endpoint takes beside the others.

use serde::{Deserialize, Serialize};

/// A weight among the endpoints of one release, 1 to 100; without any it is 1.
///
/// One of 3 gets three times as many requests as one of 1. There is no weight of 0: whether an
/// endpoint gets any is a matter of its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

/// A number that is no weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no weight: they go from 1 to 100")]
pub struct WeightError(pub u8);

impl Weight {
    /// What an endpoint has that says nothing.
    pub const ONE: Self = Self(1);
    /// The largest.
    pub const MAX: Self = Self(100);

    /// Wraps a number.
    ///
    /// # Errors
    ///
    /// [`WeightError`] for 0 and above 100.
    pub fn try_new(weight: u8) -> Result<Self, WeightError> {
        if (Self::ONE.0..=Self::MAX.0).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(WeightError(weight))
        }
    }

    /// Reads what a program announces: digits, of which too small and too large ones count as
    /// the nearest weight; `None` for anything else.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digit = |number: u8, byte: &u8| number.saturating_mul(10).saturating_add(byte - b'0');
        let number = text.iter().fold(0, digit);
        Some(Self(number.clamp(Self::ONE.0, Self::MAX.0)))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u8> for Weight {
    type Error = WeightError;

    fn try_from(weight: u8) -> Result<Self, WeightError> {
        Self::try_new(weight)
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_weight_is_never_none_and_never_above_the_largest() {
        let read = |text: &str| Weight::read(text.as_bytes()).map(Weight::get);
        assert_eq!(read(" 3 "), Some(3));
        assert_eq!(read("0"), Some(1));
        assert_eq!(read("101"), Some(100));
        assert_eq!(read("99999999999999999999"), Some(100));
        for text in ["", " ", "-1", "+2", "1.5", "3 4", "three", "\u{663}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn only_weights_are_read_back() {
        assert_eq!(serde_json::from_str::<Weight>("7").unwrap().get(), 7);
        assert!(serde_json::from_str::<Weight>("0").is_err());
        assert!(serde_json::from_str::<Weight>("101").is_err());
    }
}
