//! Two fixed hashes: one that spreads users, one that finds routes.
//!
//! Both give the same figures on every machine and in every version: a user's place in a
//! rollout must survive restarts and upgrades.

/// SipHash-2-4 of `bytes` under a key.
pub(crate) fn sip(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut state = Sip([
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ]);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.word(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state.word(u64::from_le_bytes(last) | (bytes.len() as u64) << 56);
    state.0[2] ^= 0xff;
    (0..4).for_each(|_| state.round());
    state.0.iter().fold(0, |hash, part| hash ^ part)
}

struct Sip([u64; 4]);

impl Sip {
    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

/// Spreads the bits of a random number, so that two draws can be made from one.
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Maps a random number evenly to `0..below`.
pub(crate) fn below(number: u64, below: u64) -> u64 {
    ((u128::from(number) * u128::from(below)) >> 64) as u64
}

/// A hash that grows byte by byte (FNV-1a), so that every prefix has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growing(u64);

impl Growing {
    pub(crate) fn new(seed: u32) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ mix(u64::from(seed)))
    }

    pub(crate) fn push(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    pub(crate) fn value(self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_gives_the_published_figures() {
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(sip(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(sip(key, &bytes[..1]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(sip(key, &bytes[..7]), 0xab02_00f5_8b01_d137);
        assert_eq!(sip(key, &bytes[..8]), 0x93f5_f579_9a93_2462);
        assert_eq!(sip(key, &bytes[..15]), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn a_draw_stays_below_its_bound() {
        assert_eq!(below(u64::MAX, 10_000), 9_999);
        assert_eq!(below(0, 10_000), 0);
        assert_eq!(below(u64::MAX, 1), 0);
    }
}
