//! Paths as routes compare them: an escaped letter, digit, `-`, `.`, `_` or `~` is that
//! character, any other escape stays one, and an escaped slash separates nothing.

/// One byte of a normalised path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathByte {
    /// A slash.
    Separator,
    /// Anything else.
    Inner(u8),
}

/// The slash that separates segments.
pub(crate) const SEPARATOR: PathByte = PathByte::Separator;

impl PathByte {
    pub(crate) fn value(self) -> u8 {
        match self {
            Self::Separator => b'/',
            Self::Inner(byte) => byte,
        }
    }
}

/// The bytes of `path`, normalised.
pub(crate) fn bytes(path: &[u8]) -> impl Iterator<Item = PathByte> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &byte = path.get(at)?;
        at += 1;
        match byte {
            b'/' => Some(SEPARATOR),
            b'%' => match unreserved(path.get(at..at + 2)) {
                Some(plain) => {
                    at += 2;
                    Some(PathByte::Inner(plain))
                }
                None => Some(PathByte::Inner(byte)),
            },
            _ if follows_percent(path, at - 1) => Some(PathByte::Inner(byte.to_ascii_uppercase())),
            _ => Some(PathByte::Inner(byte)),
        }
    })
}

/// A route's path, normalised and without slashes at its end.
pub(crate) fn normal(path: &[u8]) -> Vec<u8> {
    let mut normal = Vec::with_capacity(path.len());
    normal.extend(bytes(path).map(PathByte::value));
    while normal.last() == Some(&b'/') {
        normal.pop();
    }
    normal
}

/// True if the normalised `path` begins with `prefix`, which is normalised.
pub(crate) fn begins_with(path: &[u8], prefix: &[u8]) -> bool {
    if path.starts_with(prefix) && !prefix.contains(&b'%') {
        return true;
    }
    let mut bytes = bytes(path);
    prefix
        .iter()
        .all(|&wanted| bytes.next().is_some_and(|byte| byte.value() == wanted))
}

fn unreserved(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
}

/// True if the byte at `at` is a digit of an escape that stays one.
fn follows_percent(path: &[u8], at: usize) -> bool {
    let escape = |begin: usize| {
        let digits = path.get(begin + 1..begin + 3);
        path[begin] == b'%'
            && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            && unreserved(digits).is_none()
    };
    path[at].is_ascii_lowercase() && ((at >= 1 && escape(at - 1)) || (at >= 2 && escape(at - 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_mean_plain_characters_are_those() {
        assert_eq!(normal(b"/%61pi/%7Euser/"), b"/api/~user");
        assert_eq!(normal(b"/a%2fb"), b"/a%2Fb");
        assert_eq!(normal(b"/%e4"), b"/%E4");
        assert_eq!(normal(b"/"), b"");
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for odd in [&b"/%"[..], b"/%4", b"/%zz", b"/%%61", b"/a%"] {
            assert_eq!(normal(&normal(odd)), normal(odd), "{odd:?}");
        }
        assert_eq!(normal(b"/%zz"), b"/%zz");
    }

    #[test]
    fn an_escaped_slash_separates_nothing() {
        let separators = bytes(b"/a%2Fb/c").filter(|&byte| byte == SEPARATOR);
        assert_eq!(separators.count(), 2);
    }
}
