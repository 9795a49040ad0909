//! Paths and keys with what stands for one thing among many left out, so that what differs in
//! the same way is counted together, and no id is kept.

/// In place of a number, an id, or anything else that is no name.
pub(crate) const HOLE: &str = "{}";
/// Longer words are hardly names.
const NAME_BYTES_MAX: usize = 40;
/// Nor are words with more digits.
const NAME_DIGITS_MAX: usize = 3;
/// Nor is so long a run of hexadecimal digits.
const HEX_BYTES_MIN: usize = 16;
/// Deeper paths are cut off.
const SEGMENTS_MAX: usize = 12;

/// The route of a request: its method, and its path with numbers and ids left out.
#[must_use]
pub fn route(method: &str, path: &[u8]) -> String {
    let mut route = format!("{method} ");
    let segments = path.split(|&byte| byte == b'/').skip(1);
    for (at, segment) in segments.enumerate() {
        route.push('/');
        if at == SEGMENTS_MAX {
            route.push('…');
            break;
        }
        route.push_str(name(segment));
    }
    route
}

/// The word itself if it names a kind of thing rather than one of many.
pub(crate) fn name(word: &[u8]) -> &str {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let fits = word.len() <= NAME_BYTES_MAX && digits <= NAME_DIGITS_MAX;
    let is_number = digits > 0 && digits == word.len();
    let is_hex = word.len() >= HEX_BYTES_MIN && word.iter().all(u8::is_ascii_hexdigit);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~$-".contains(byte);
    let is_plain = fits && !is_number && !is_hex && word.iter().all(plain);
    std::str::from_utf8(word)
        .ok()
        .filter(|_| is_plain)
        .unwrap_or(HOLE)
}
