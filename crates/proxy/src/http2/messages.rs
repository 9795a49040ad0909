//! Where the messages of gRPC within a body begin and end.

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// How far the messages were followed.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    payload_left: u64,
    whole: u64,
}

impl Messages {
    /// How many were followed; `None` within one.
    pub(super) fn whole(&self) -> Option<u64> {
        (self.prefix_filled == 0 && self.payload_left == 0).then_some(self.whole)
    }

    /// Follows the next bytes of the body.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let passed = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                let passed = passed.min(bytes.len());
                bytes = &bytes[passed..];
                self.payload_left -= passed as u64;
            } else {
                self.prefix[self.prefix_filled] = bytes[0];
                self.prefix_filled += 1;
                bytes = &bytes[1..];
                if self.prefix_filled < PREFIX_BYTES {
                    continue;
                }
                let [_, a, b, c, d] = self.prefix;
                self.prefix_filled = 0;
                self.payload_left = u64::from(u32::from_be_bytes([a, b, c, d]));
            }
            self.whole += u64::from(self.payload_left == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_however_they_are_split() {
        let body = [
            &b"\0\0\0\0\x03abc"[..],
            b"\0\0\0\0\0",
            b"\x01\0\0\x01\0",
            &[7; 256],
        ]
        .concat();
        for step in 1..body.len() {
            let mut messages = Messages::default();
            let mut between = vec![messages.whole()];
            for (at, bytes) in body.chunks(step).enumerate() {
                messages.follow(bytes);
                let read = (at * step + bytes.len()) as u64;
                let expected = match read {
                    8..13 if read == 8 => Some(1),
                    13 => Some(2),
                    274 => Some(3),
                    _ => None,
                };
                assert_eq!(messages.whole(), expected, "{step} {read}");
                between.push(messages.whole());
            }
            assert_eq!(between.last(), Some(&Some(3)));
        }
    }
}
