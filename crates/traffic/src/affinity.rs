//! Who a request comes from, as far as affinity needs to know.
//!
//! The cookie holds a random id and never a release, so it says nothing about where its
//! owner is; that follows from the id, the rollout and the share alone.

use model::{RolloutId, Share};

use crate::hash::{below, sip};
use crate::table::{AudienceRule, Endpoint, Wanted};

/// The name of the affinity cookie.
pub const COOKIE: &str = "gapless_id";

const SHARE_KEY: u64 = 0x6761_706c_6573_7331;
const INSTANCE_KEY: u64 = 0x6761_706c_6573_7332;
const YEAR_SECONDS: u32 = 31_536_000;

/// The id in an affinity cookie: 128 bits in 32 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieId([u8; 32]);

impl CookieId {
    /// A new id from random bits.
    #[must_use]
    pub fn new(random: u128) -> Self {
        let digit = |at: u32| b"0123456789abcdef"[(random >> (4 * at)) as usize & 15];
        Self(std::array::from_fn(|at| digit(31 - at as u32)))
    }

    /// Reads the value of a cookie; `None` if it is not one that we gave.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let digits: [u8; 32] = value.try_into().ok()?;
        let ours = digits
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ours.then_some(Self(digits))
    }

    /// The bytes to take for the user.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value of the `Set-Cookie` header that gives it to the user.
    #[must_use]
    pub fn set_cookie(&self) -> String {
        let id = self.0.map(char::from);
        let id: String = id.iter().collect();
        format!("{COOKIE}={id}; Path=/; Max-Age={YEAR_SECONDS}; HttpOnly; SameSite=Lax")
    }
}

/// True if a user is among the candidate's share. Who is stays so while the share grows.
#[must_use]
pub fn is_in_share(user: &[u8], rollout: Option<RolloutId>, share: Share) -> bool {
    let rollout = rollout.map_or(0, |rollout| rollout.0);
    below(sip((SHARE_KEY, rollout), user), 10_000) < u64::from(share.basis_points())
}

/// How strongly a user is drawn to an instance: it goes to the one that draws most, and when
/// that one leaves, only its own users move.
pub(crate) fn pull(user: &[u8], endpoint: &Endpoint) -> u64 {
    let instance =
        u64::from(endpoint.instance.release.0) << 32 | u64::from(endpoint.instance.serial);
    sip((INSTANCE_KEY, instance), user)
}

impl AudienceRule {
    /// True if a value of the rule's header or cookie is wanted during `rollout`.
    ///
    /// A share of the values is drawn as [`is_in_share`] draws users: whoever is among its 10 %
    /// is still there when 10 % of all users are. An empty value belongs to nobody.
    #[must_use]
    pub fn accepts(&self, value: &[u8], rollout: Option<RolloutId>) -> bool {
        let (Self::Header(_, wanted) | Self::Cookie(_, wanted)) = self;
        match wanted {
            Wanted::Exactly(wanted) => is_same(value, wanted.as_bytes()),
            Wanted::Part(share) => !value.is_empty() && is_in_share(value, rollout, *share),
        }
    }
}

/// Compares in a time that does not depend on how much of the value is right.
fn is_same(value: &[u8], wanted: &[u8]) -> bool {
    let different = value
        .iter()
        .zip(wanted)
        .fold(0, |bits, (a, b)| bits | (a ^ b));
    value.len() == wanted.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cookie_is_read_back_and_says_nothing_of_a_release() {
        let id = CookieId::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.as_bytes(), b"0123456789abcdef0011223344556677");
        assert_eq!(CookieId::read(id.as_bytes()), Some(id));
        assert_eq!(
            id.set_cookie(),
            "gapless_id=0123456789abcdef0011223344556677; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn only_our_own_form_of_a_cookie_is_believed() {
        for odd in [
            "",
            "v2",
            "0123456789ABCDEF0011223344556677",
            "0123456789abcdef001122334455667g",
            "0123456789abcdef00112233445566770",
        ] {
            assert_eq!(CookieId::read(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn a_users_place_is_the_same_in_every_version_of_this_program() {
        let user = b"0123456789abcdef0011223344556677";
        let first = (0..=10_000).find(|&points| {
            is_in_share(user, Some(RolloutId(17)), Share::try_new(points).unwrap())
        });
        assert_eq!(first, Some(3_253));
    }

    #[test]
    fn an_audience_accepts_its_exact_value_only() {
        let wanted = Wanted::Exactly("secret".to_owned());
        let rule = AudienceRule::Header("x-staff".to_owned(), wanted);
        assert!(rule.accepts(b"secret", None));
        assert!(!rule.accepts(b"secre", None));
        assert!(!rule.accepts(b"secrets", None));
        assert!(!rule.accepts(b"Secret", None));
        assert!(!rule.accepts(b"", None));
    }

    #[test]
    fn a_share_of_the_values_is_drawn_as_the_share_of_the_users_is_and_nobody_is_in_none() {
        let part = |points| {
            let share = Share::try_new(points).unwrap();
            (
                share,
                AudienceRule::Cookie("tenant".to_owned(), Wanted::Part(share)),
            )
        };
        let (share, rule) = part(1_000);
        for tenant in 0..1_000_u32 {
            let (tenant, rollout) = (tenant.to_be_bytes(), Some(RolloutId(7)));
            let expected = is_in_share(&tenant, rollout, share);
            assert_eq!(rule.accepts(&tenant, rollout), expected);
        }
        assert!(!part(10_000).1.accepts(b"", None));
    }

    #[test]
    fn users_split_as_the_share_says_and_each_rollout_draws_its_own_sample() {
        let share = Share::try_new(2_000).unwrap();
        let users: Vec<CookieId> = (0..20_000_u128)
            .map(|n| CookieId::new(n * 0x9e37_79b9))
            .collect();
        let sample = |rollout| -> Vec<bool> {
            users
                .iter()
                .map(|user| is_in_share(user.as_bytes(), Some(RolloutId(rollout)), share))
                .collect()
        };
        let (one, two) = (sample(1), sample(2));
        let count = |sample: &[bool]| sample.iter().filter(|&&inside| inside).count();
        // Five standard deviations of a binomial: sqrt(20000 * 0.2 * 0.8) = 57.
        assert!(count(&one).abs_diff(4_000) < 285, "{}", count(&one));
        assert!(count(&two).abs_diff(4_000) < 285, "{}", count(&two));
        let both = one.iter().zip(&two).filter(|(a, b)| **a && **b).count();
        assert!(both.abs_diff(800) < 140, "{both} are in both samples");
    }

    proptest! {
        #[test]
        fn growth_of_the_share_moves_nobody_back(user: Vec<u8>, rollout: u64, a in 0_u16..=10_000, b in 0_u16..=10_000) {
            let (small, large) = (Share::try_new(a.min(b)).unwrap(), Share::try_new(a.max(b)).unwrap());
            let rollout = Some(RolloutId(rollout));
            prop_assert!(!is_in_share(&user, rollout, small) || is_in_share(&user, rollout, large));
            prop_assert!(is_in_share(&user, rollout, Share::ALL));
            prop_assert!(!is_in_share(&user, rollout, Share::NONE));
        }
    }
}
