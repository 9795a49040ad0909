//! Request targets and hosts: which bytes and forms are accepted.

use crate::method::Method;
use crate::refusal::Refusal;

/// Visible ASCII without what no URI and no browser's address may hold raw: `#`, `<`, `>` and
/// `"`. `|` stands in queries alone: no URI may hold it, but browsers send it there as it is
/// typed, and no program takes a query's `|` for anything else.
static TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = !matches!(byte as u8, b'#' | b'<' | b'>' | b'"');
        byte += 1;
    }
    table
};

/// The parts of a request target, as byte ranges within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetParts {
    /// Where the authority of an absolute target is, if it is one.
    pub(crate) authority: Option<(usize, usize)>,
    /// Where the path begins; at the target's end or at `?` when the path is empty.
    pub(crate) path: usize,
    /// Where the path ends.
    pub(crate) path_end: usize,
}

/// Splits `target`: origin form, absolute form, or `*` with OPTIONS.
pub(crate) fn split(target: &[u8], method: Method) -> Result<TargetParts, Refusal> {
    if !target.iter().all(|&byte| TARGET[usize::from(byte)]) {
        return Err(Refusal::Target);
    }
    let asterisk = target == b"*" && method == Method::Options;
    if asterisk || target.first() == Some(&b'/') {
        return parts(target, None);
    }
    let begin = scheme_end(target).ok_or(Refusal::Target)?;
    let end = target[begin..]
        .iter()
        .position(|&byte| byte == b'/' || byte == b'?')
        .map_or(target.len(), |at| begin + at);
    check_host(&target[begin..end])?;
    parts(target, Some((begin, end)))
}

/// Finds the path after the authority, and refuses one that a program may read as another than
/// the one that was routed: some take a backslash for a slash, and all but few resolve dot
/// segments, which every browser does before it asks.
fn parts(target: &[u8], authority: Option<(usize, usize)>) -> Result<TargetParts, Refusal> {
    let begin = authority.map_or(0, |(_, end)| end);
    let path_end = memchr::memchr(b'?', &target[begin..]).map_or(target.len(), |at| begin + at);
    let path = &target[begin..path_end];
    if memchr::memchr2(b'\\', b'|', path).is_some() {
        return Err(Refusal::Target);
    }
    if path.split(|&byte| byte == b'/').any(is_dot_segment) {
        return Err(Refusal::DotSegment);
    }
    Ok(TargetParts {
        authority,
        path: begin,
        path_end,
    })
}

/// True for `.` and `..`, each dot also as `%2e`.
fn is_dot_segment(segment: &[u8]) -> bool {
    let after_dot = |rest: &[u8]| match rest {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    };
    let Some(first) = after_dot(segment) else {
        return false;
    };
    match after_dot(&segment[first..]) {
        Some(second) => segment.len() == first + second,
        None => segment.len() == first,
    }
}

fn scheme_end(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        })
        .map(<[u8]>::len)
}

/// Checks `name`, `name:port`, `[address]` or `[address]:port`.
pub(crate) fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let name = hostname(host);
    let port = &host[name.len()..];
    let name_fits = match name {
        [b'[', address @ .., b']'] => {
            !address.is_empty()
                && address
                    .iter()
                    .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        name => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    if name_fits && port_fits {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

/// True for a number up to 65535, and for none at all, which means the scheme's port.
fn is_port(digits: &[u8]) -> bool {
    let value = |value: u32, digit: &u8| value * 10 + u32::from(digit - b'0');
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, value) <= u32::from(u16::MAX)
}

/// The host without its port.
pub(crate) fn hostname(host: &[u8]) -> &[u8] {
    let end = if host.first() == Some(&b'[') {
        memchr::memchr(b']', host).map_or(host.len(), |at| at + 1)
    } else {
        memchr::memchr(b':', host).unwrap_or(host.len())
    };
    &host[..end]
}
