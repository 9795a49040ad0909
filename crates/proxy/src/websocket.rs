//! Where the frames of a WebSocket end, so that a goodbye can be said between two of them.
//!
//! Only headers are looked at (RFC 6455, 5.2); payloads pass unread.

/// The longest header: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;
/// Going away (RFC 6455, 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();
const OPCODE_CLOSE: u8 = 0x8;

/// Who a goodbye is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    Client,
    /// A program takes masked frames only.
    Program([u8; 4]),
}

/// Appends a close frame with the status 1001.
pub(crate) fn write_goodbye(towards: Towards, out: &mut Vec<u8>) {
    let length = GOING_AWAY.len() as u8;
    let [high, low] = GOING_AWAY;
    match towards {
        Towards::Client => out.extend([0x80 | OPCODE_CLOSE, length, high, low]),
        Towards::Program(mask) => {
            out.extend([0x80 | OPCODE_CLOSE, 0x80 | length]);
            out.extend(mask);
            out.extend([high ^ mask[0], low ^ mask[1]]);
        }
    }
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// All that is there.
    End,
    /// No further than the present frame.
    Boundary,
}

/// One direction's frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// How many bytes of the head have come.
    seen: usize,
    /// How many bytes of the payload are still to come.
    left: u64,
    is_closed: bool,
}

impl Frames {
    /// True between two frames.
    pub(crate) fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// True once a close frame has gone by: nothing may follow it.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Follows the next bytes. Returns how many it took: all, unless it was to stop between
    /// two frames.
    pub(crate) fn follow(&mut self, bytes: &[u8], until: Until) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if until == Until::Boundary && self.is_between() {
                break;
            }
            let rest = &bytes[at..];
            if self.left > 0 {
                let run =
                    usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                self.left -= run as u64;
                at += run;
            } else {
                self.head[self.seen] = rest[0];
                self.seen += 1;
                at += 1;
                self.end_head();
            }
        }
        at
    }

    /// Goes on to the payload if the head is whole.
    fn end_head(&mut self) {
        if self.seen < 2 {
            return;
        }
        let length_bytes = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        if self.seen < 2 + length_bytes + mask_bytes {
            return;
        }
        let long = &self.head[2..2 + length_bytes];
        self.left = match length_bytes {
            0 => u64::from(self.head[1] & 0x7f),
            _ => long
                .iter()
                .fold(0, |length, &byte| length << 8 | u64::from(byte)),
        };
        self.is_closed |= self.head[0] & 0x0f == OPCODE_CLOSE;
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, mask: Option<[u8; 4]>, payload: usize) -> Vec<u8> {
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..126 => frame.push(masked | payload as u8),
            126..65_536 => {
                frame.push(masked | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(masked | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(
            mask.unwrap_or_default()
                .iter()
                .take(if masked > 0 { 4 } else { 0 }),
        );
        frame.resize(frame.len() + payload, b'x');
        frame
    }

    #[test]
    fn frames_of_every_length_end_where_they_end_in_any_pieces() {
        let mask = Some([1, 2, 3, 4]);
        for (mask, payload) in [
            (None, 0),
            (mask, 0),
            (None, 125),
            (mask, 126),
            (None, 65_535),
            (mask, 65_536),
        ] {
            let bytes = frame(1, mask, payload);
            for piece in [1, 3, bytes.len()] {
                let mut frames = Frames::default();
                for (number, part) in bytes.chunks(piece).enumerate() {
                    assert_eq!(frames.is_between(), number == 0, "{payload} {piece}");
                    assert_eq!(frames.follow(part, Until::End), part.len());
                }
                assert!(frames.is_between() && !frames.is_closed());
            }
        }
    }

    #[test]
    fn it_stops_where_the_present_frame_ends() {
        let both = [frame(2, None, 300), frame(1, None, 5)].concat();
        let mut frames = Frames::default();
        assert_eq!(frames.follow(&both, Until::Boundary), 0);
        assert_eq!(frames.follow(&both[..10], Until::End), 10);
        assert_eq!(frames.follow(&both[10..], Until::Boundary), 294);
        assert!(frames.is_between());
    }

    #[test]
    fn a_close_frame_is_noticed() {
        let mut frames = Frames::default();
        frames.follow(&frame(9, None, 2), Until::End);
        assert!(!frames.is_closed());
        frames.follow(&frame(OPCODE_CLOSE, Some([9; 4]), 2), Until::End);
        assert!(frames.is_closed());
    }

    #[test]
    fn goodbyes_are_frames_themselves() {
        for (towards, wanted) in [
            (Towards::Client, vec![0x88, 2, 3, 0xe9]),
            (
                Towards::Program([1, 2, 3, 4]),
                vec![0x88, 0x82, 1, 2, 3, 4, 2, 0xeb],
            ),
        ] {
            let mut goodbye = Vec::new();
            write_goodbye(towards, &mut goodbye);
            assert_eq!(goodbye, wanted);
            let mut frames = Frames::default();
            frames.follow(&goodbye, Until::End);
            assert!(frames.is_between() && frames.is_closed());
        }
    }
}
