//! Splits a stream of bytes into records of bounded length.

/// The longest record; a longer line becomes several.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// A line without its end, or a part of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    /// The line goes on in the next record.
    pub(super) partial: bool,
}

/// Keeps the beginning of a line until its end comes.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    begun: Vec<u8>,
    /// A part of the present line was already given out.
    cut: bool,
}

impl Splitter {
    /// Gives out every record that `bytes` completes.
    pub(super) fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(Record<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.fill(&rest[..end], each);
            self.end_line(each);
            rest = &rest[end + 1..];
        }
        self.fill(rest, each);
    }

    /// Gives out the line that has no end.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(Record<'_>)) {
        if !self.begun.is_empty() {
            self.end_line(each);
        }
    }

    fn end_line(&mut self, each: &mut dyn FnMut(Record<'_>)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        // The end of a long line may have nothing left to say.
        if !(self.cut && line.is_empty()) {
            each(Record {
                bytes: line,
                partial: false,
            });
        }
        self.begun.clear();
        self.cut = false;
        // The room for one long line is not kept for ever.
        self.begun.shrink_to(4096);
    }

    fn fill(&mut self, bytes: &[u8], each: &mut dyn FnMut(Record<'_>)) {
        self.begun.extend_from_slice(bytes);
        while self.begun.len() > RECORD_BYTES_MAX {
            let end = boundary(&self.begun[..RECORD_BYTES_MAX]);
            each(Record {
                bytes: &self.begun[..end],
                partial: true,
            });
            self.begun.drain(..end);
            self.cut = true;
        }
    }
}

/// Where to cut so that no character is torn: at most three bytes before the end.
fn boundary(bytes: &[u8]) -> usize {
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let Some(last) = bytes.iter().rev().take(4).position(|byte| !continues(byte)) else {
        return bytes.len();
    };
    let start = bytes.len() - 1 - last;
    let whole = std::str::from_utf8(&bytes[start..]).is_ok();
    if whole || start == 0 {
        bytes.len()
    } else {
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        let mut each = |record: Record<'_>| all.push((record.bytes.to_vec(), record.partial));
        for piece in pieces {
            splitter.push(piece, &mut each);
        }
        splitter.finish(&mut each);
        all
    }

    fn whole(line: &[u8]) -> (Vec<u8>, bool) {
        (line.to_vec(), false)
    }

    #[test]
    fn lines_end_at_line_feeds_with_or_without_carriage_return() {
        let expected = vec![whole(b"a"), whole(b"b"), whole(b""), whole(b"c")];
        assert_eq!(split(&[b"a\nb\r\n\nc"]), expected);
    }

    #[test]
    fn a_long_line_is_cut_and_marked_and_loses_nothing() {
        let line = vec![b'x'; 10 * 1024 * 1024];
        let records = split(&[&line, b"\nnext\n"]);
        let (next, parts) = records.split_last().unwrap();
        assert_eq!(*next, whole(b"next"));
        assert_eq!(
            parts.iter().map(|(bytes, _)| bytes.len()).sum::<usize>(),
            line.len()
        );
        assert!(
            parts
                .iter()
                .all(|(bytes, _)| bytes.len() <= RECORD_BYTES_MAX)
        );
        assert!(parts[..parts.len() - 1].iter().all(|(_, partial)| *partial));
        assert!(!parts[parts.len() - 1].1);
    }

    #[test]
    fn a_long_line_is_not_cut_within_a_character() {
        let line = "ü€😀x".repeat(RECORD_BYTES_MAX / 8);
        for (bytes, _) in split(&[line.as_bytes()]) {
            assert!(std::str::from_utf8(&bytes).is_ok());
        }
    }

    proptest! {
        #[test]
        fn records_do_not_depend_on_how_the_stream_arrives(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..300),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&pieces), split(&[&bytes]));
        }
    }
}
