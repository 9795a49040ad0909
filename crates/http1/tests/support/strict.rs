//! A second opinion on the wire format: slow, allocating, written from RFC 9112 alone and
//! sharing no code with the codec.

/// A head as this reader sees it; names in lower case.
pub(crate) struct Head {
    pub(crate) line: Vec<u8>,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) bytes: usize,
}

impl Head {
    /// All values under `name`.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = self.fields.iter().filter(|(known, _)| known == name);
        same.map(|(_, value)| value.as_slice()).collect()
    }
}

/// A body's framing as this reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Absent,
    Length(u64),
    Chunked,
}

/// Reads the head at the beginning of `bytes`; `None` if it is not whole or not strict.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = &bytes[..end + 2];
    let mut lines = lines(text)?.into_iter();
    let line = lines.next().filter(|line| !line.is_empty())?.to_vec();
    let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
    Some(Head {
        line,
        fields,
        bytes: end + 4,
    })
}

/// The framing of a head, if there is exactly one.
pub(crate) fn framing(head: &Head) -> Option<Framing> {
    match (
        head.all("content-length").as_slice(),
        head.all("transfer-encoding").as_slice(),
    ) {
        ([], []) => Some(Framing::Absent),
        ([length], []) => {
            let text = std::str::from_utf8(length).ok()?;
            let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            digits
                .then(|| text.parse().ok().map(Framing::Length))
                .flatten()
        }
        ([], [coding]) => coding
            .eq_ignore_ascii_case(b"chunked")
            .then_some(Framing::Chunked),
        _ => None,
    }
}

/// A chunked body as this reader sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    pub(crate) payload: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) bytes: usize,
}

/// Reads the chunked body at the beginning of `bytes`; `None` if it is not whole or not strict.
pub(crate) fn chunked(bytes: &[u8]) -> Option<Chunked> {
    let mut at = 0;
    let mut payload = Vec::new();
    let mut extensions = 0;
    loop {
        let line_bytes = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let line = &bytes[at..at + line_bytes];
        at += line_bytes + 2;
        let (size, extension) = match line.iter().position(|&byte| byte == b';') {
            Some(semicolon) => line.split_at(semicolon),
            None => (line, &b""[..]),
        };
        extensions += extension.len();
        if extension.len() > 256 || extensions > 16 * 1024 {
            return None;
        }
        if !extension
            .iter()
            .all(|&byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
        {
            return None;
        }
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            let (trailers, trailer_bytes) = trailers(&bytes[at..])?;
            return Some(Chunked {
                payload,
                trailers,
                bytes: at + trailer_bytes,
            });
        }
        let size = usize::try_from(size).ok()?;
        let end = at.checked_add(size)?;
        payload.extend_from_slice(bytes.get(at..end)?);
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
}

type Fields = Vec<(String, Vec<u8>)>;

fn trailers(bytes: &[u8]) -> Option<(Fields, usize)> {
    if bytes.starts_with(b"\r\n") {
        return Some((Vec::new(), 2));
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let fields = lines(&bytes[..end + 2])?
        .into_iter()
        .map(field)
        .collect::<Option<Fields>>()?;
    let framing = |name: &str| name == "content-length" || name == "transfer-encoding";
    let sound =
        end + 4 <= 8 * 1024 && fields.len() <= 100 && !fields.iter().any(|(name, _)| framing(name));
    sound.then_some((fields, end + 4))
}

/// Splits at CRLF; `None` if a CR or LF stands alone.
fn lines(mut text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    while !text.is_empty() {
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        if text.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        lines.push(&text[..end]);
        text = &text[end + 2..];
    }
    Some(lines)
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let visible = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if name.is_empty() || !name.iter().all(token) || !value.iter().all(visible) {
        return None;
    }
    let value = value.trim_ascii_start().trim_ascii_end();
    Some((
        String::from_utf8(name.to_ascii_lowercase()).ok()?,
        value.to_vec(),
    ))
}
