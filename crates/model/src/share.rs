//! Shares of traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share in basis points: 1 is 1/100 %, [`Share::ALL`] is everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

/// A number of basis points above 10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} basis points are more than the whole, 10000")]
pub struct ShareError(pub u16);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// Wraps a number of basis points.
    ///
    /// # Errors
    ///
    /// [`ShareError`] above 10 000.
    pub fn try_new(basis_points: u16) -> Result<Self, ShareError> {
        if basis_points <= Self::ALL.0 {
            Ok(Self(basis_points))
        } else {
            Err(ShareError(basis_points))
        }
    }

    /// The share that `part` of `whole` is, rounded down; nothing when `whole` is 0.
    #[must_use]
    pub fn of(part: u32, whole: u32) -> Self {
        if whole == 0 {
            return Self::NONE;
        }
        let points = u64::from(part.min(whole)) * u64::from(Self::ALL.0) / u64::from(whole);
        Self(u16::try_from(points).expect("at most 10000"))
    }

    /// The number of basis points, 0 to 10 000.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// What is left beside this share.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// This share of `count`, rounded up.
    #[must_use]
    pub fn of_count_up(self, count: u32) -> u32 {
        let whole = u64::from(count) * u64::from(self.0);
        u32::try_from(whole.div_ceil(u64::from(Self::ALL.0))).expect("at most count")
    }

    /// This share of `count`, rounded down.
    #[must_use]
    pub fn of_count_down(self, count: u32) -> u32 {
        let whole = u64::from(count) * u64::from(self.0);
        u32::try_from(whole / u64::from(Self::ALL.0)).expect("at most count")
    }
}

impl TryFrom<u16> for Share {
    type Error = ShareError;

    fn try_from(basis_points: u16) -> Result<Self, ShareError> {
        Self::try_new(basis_points)
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_print_as_percentages() {
        let shown = [0, 1, 50, 505, 2_500, 10_000].map(|p| Share::try_new(p).unwrap().to_string());
        assert_eq!(shown, ["0%", "0.01%", "0.5%", "5.05%", "25%", "100%"]);
    }

    #[test]
    fn a_canary_share_of_replicas_rounds_up_and_never_over() {
        let five = Share::try_new(500).unwrap();
        assert_eq!([1, 2, 20, 21].map(|n| five.of_count_up(n)), [1, 1, 1, 2]);
        assert_eq!(Share::ALL.of_count_up(7), 7);
        assert_eq!(Share::of(1, 3).basis_points(), 3_333);
    }
}
