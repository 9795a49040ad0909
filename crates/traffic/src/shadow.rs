//! Who gets copies of a service's requests, and why a request was not copied.

use model::{ReleaseId, Shadow, ShadowKey};
use serde::{Deserialize, Serialize};

use crate::Candidate;
use crate::listed::listed;

/// A release that gets copies of the stable release's requests. Nobody gets its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowTable {
    /// Which shadow it is.
    pub key: ShadowKey,
    /// The release and its endpoints.
    pub target: Candidate,
    /// Which requests are copied, and what becomes of the answers.
    pub policy: Shadow,
}

impl ShadowTable {
    /// Whether a request that `release` answers is copied; equal `random` numbers draw equally.
    #[must_use]
    pub fn draws(&self, method: &str, release: ReleaseId, random: u64) -> bool {
        let drawn = random % 10_000 < u64::from(self.policy.share.basis_points());
        drawn
            && release != self.target.release
            && self.policy.methods.iter().any(|own| own == method)
    }
}

listed! {
    /// Why a request that was drawn was not copied to a shadow.
    pub enum Dropped {
        /// As many copies as there may be were under way.
        Full => "full",
        /// Its body is longer than what is kept of one.
        BodyTooLarge => "body_too_large",
        /// Its body did not come whole.
        Unfinished => "unfinished",
        /// The shadow had no ready endpoint.
        NoEndpoint => "no_endpoint",
        /// The shadow was over before the copy was sent.
        Over => "over",
    }
}

#[cfg(test)]
mod tests {
    use model::{RolloutId, Share};

    use super::*;

    fn shadow(basis_points: u16) -> ShadowTable {
        ShadowTable {
            key: ShadowKey {
                rollout: RolloutId(1),
                step: 1,
                round: 0,
            },
            target: Candidate {
                release: ReleaseId(2),
                endpoints: Vec::new(),
                tls: None,
            },
            policy: Shadow {
                share: Share::try_new(basis_points).unwrap(),
                methods: vec!["GET".to_owned()],
                body_bytes_max: 1,
                compare: None,
            },
        }
    }

    #[test]
    fn the_share_of_the_requests_is_drawn() {
        let shadow = shadow(2_500);
        let drawn = (0..10_000).filter(|&random| shadow.draws("GET", ReleaseId(1), random));
        assert_eq!(drawn.count(), 2_500);
    }

    #[test]
    fn what_the_shadow_itself_answers_is_not_copied_to_it() {
        assert!(shadow(10_000).draws("GET", ReleaseId(1), 7));
        assert!(!shadow(10_000).draws("GET", ReleaseId(2), 7));
    }

    #[test]
    fn other_methods_are_not_copied() {
        for method in ["POST", "get", "DELETE"] {
            assert!(!shadow(10_000).draws(method, ReleaseId(1), 7), "{method}");
        }
    }
}
