//! What a request is known by: its id and its W3C trace context.

use crate::request::RequestHead;

/// The header field with a request's id.
pub const REQUEST_ID: &str = "x-request-id";
/// The header field with the place in a trace.
pub const TRACEPARENT: &str = "traceparent";
/// The header field with what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

const REQUEST_ID_BYTES_MAX: usize = 128;
const TRACEPARENT_BYTES: usize = 55;

/// A new request's id: 128 bits in 32 digits.
#[must_use]
pub fn new_request_id(random: u128) -> [u8; 32] {
    let mut id = [0; 32];
    write_hex(&mut id, random);
    id
}

/// The id that a request carries, if it carries one of a form that any log can take: at most
/// 128 letters, digits and `-_.:+/=@~`.
#[must_use]
pub fn request_id(head: &RequestHead) -> Option<&[u8]> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    let id = only(head, REQUEST_ID)?;
    let is_sound = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(fits);
    is_sound.then_some(id)
}

/// A new trace's `traceparent`, with its first span.
#[must_use]
pub fn new_traceparent((trace, span): (u128, u64), sampled: Sampled) -> [u8; TRACEPARENT_BYTES] {
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    // Both ids are never zero.
    write_hex(&mut value[3..35], trace.max(1));
    write_hex(&mut value[36..52], u128::from(span.max(1)));
    value[54] = match sampled {
        Sampled::Yes => b'1',
        Sampled::No => b'0',
    };
    value
}

/// Whether a trace is marked to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// The `traceparent` that a request carries, if it is valid: then it is passed on as it is.
#[must_use]
pub fn traceparent(head: &RequestHead) -> Option<&[u8]> {
    let value = only(head, TRACEPARENT)?;
    is_traceparent(value).then_some(value)
}

fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(TRACEPARENT_BYTES) else {
        return false;
    };
    let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|at| &known[at]);
    let is_hex = |part: &[u8]| {
        part.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &[u8]| part.iter().all(|&byte| byte == b'0');
    let is_parted = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    // A later version may have more parts.
    let ends = match version {
        b"00" => more.is_empty(),
        b"ff" => false,
        _ => more.is_empty() || more[0] == b'-',
    };
    is_parted
        && ends
        && [version, trace, span, flags].into_iter().all(is_hex)
        && !is_zero(trace)
        && !is_zero(span)
}

/// The value of a field that is there once.
fn only<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    let mut named = head
        .fields()
        .filter(|header| header.name.eq_ignore_ascii_case(name.as_bytes()));
    let first = named.next()?;
    named.next().is_none().then_some(first.value)
}

fn write_hex(out: &mut [u8], number: u128) {
    for (at, digit) in out.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_context_of_the_standards_form_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good.as_bytes()));
        assert!(is_traceparent(good.replace("00-0a", "cc-0a").as_bytes()));
        assert!(is_traceparent(format!("cc{}-more", &good[2..]).as_bytes()));
        for bad in [
            String::new(),
            good[..54].to_owned(),
            format!("{good}-more"),
            format!("cc{}more", &good[2..]),
            format!("ff{}", &good[2..]),
            good.to_ascii_uppercase(),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.replace('-', "_"),
            good.replace("-01", "-0x"),
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn what_is_begun_is_valid() {
        for random in [(0, 0), (1, 2), (u128::MAX, u64::MAX)] {
            for sampled in [Sampled::Yes, Sampled::No] {
                assert!(is_traceparent(&new_traceparent(random, sampled)));
            }
        }
        assert_eq!(&new_request_id(0x1f), b"0000000000000000000000000000001f");
    }
}
