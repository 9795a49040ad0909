//! How a program's connections are told which version of a schema is theirs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is written as `%XX`: all but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The `search_path` of a version: its schema, then `own`, where the role looks by itself.
#[must_use]
pub fn of(schema: &str, own: &str) -> String {
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    match own.trim() {
        "" | "\"\"" => quoted,
        own => format!("{quoted}, {own}"),
    }
}

/// The option of libpq that sets a `search_path`, after those in `before`.
pub(crate) fn options(before: &str, path: &str) -> String {
    let mut options = before.trim().to_owned();
    if !options.is_empty() {
        options.push(' ');
    }
    options.push_str("-csearch_path=");
    for c in path.chars() {
        if c == '\\' || c.is_whitespace() {
            options.push('\\');
        }
        options.push(c);
    }
    options
}

/// A URL, or libpq's `key=value` form, whose connections have a `search_path`.
pub(crate) fn in_url(url: &str, path: &str) -> String {
    if url.contains("://") {
        in_query(url, path)
    } else {
        in_pairs(url, path)
    }
}

fn in_query(url: &str, path: &str) -> String {
    let (url, fragment) = match url.split_once('#') {
        Some((url, fragment)) => (url, format!("#{fragment}")),
        None => (url, String::new()),
    };
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut before = String::new();
    let mut kept: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("options=") {
            Some(options) => before = decode(options),
            None => kept.push(pair.to_owned()),
        }
    }
    kept.push(format!("options={}", encode(&options(&before, path))));
    format!("{place}?{}{fragment}", kept.join("&"))
}

/// The last of equal keys counts, so it is enough to add one.
fn in_pairs(pairs: &str, path: &str) -> String {
    let options = options(&pair(pairs, "options").unwrap_or_default(), path);
    let quoted = options.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{} options='{quoted}'", pairs.trim_end())
}

/// The value of a key in libpq's `key=value` form: the last one counts.
pub(crate) fn pair(pairs: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let mut rest = pairs.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = value(after.trim_start());
        if key.trim() == wanted {
            found = Some(value);
        }
        rest = left.trim_start();
    }
    found
}

/// A value, quoted or not, and what follows it.
fn value(text: &str) -> (String, &str) {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' if quoted => return (value, &text[at + 1..]),
            c if !quoted && c.is_whitespace() => return (value, &text[at..]),
            c => value.push(c),
        }
    }
    (value, "")
}

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "\"public_02_split\", \"$user\", public";

    #[test]
    fn the_version_comes_first_and_the_roles_own_path_stays() {
        assert_eq!(of("public_02_split", "\"$user\", public"), PATH);
        assert_eq!(of("a\"b", ""), "\"a\"\"b\"");
    }

    #[test]
    fn urls_keep_what_they_say_and_get_an_option_more() {
        let option = "-csearch_path%3D%22public_02_split%22%2C%5C%20%22%24user%22%2C%5C%20public";
        for (url, wanted) in [
            (
                "postgres://u:p@h/d",
                format!("postgres://u:p@h/d?options={option}"),
            ),
            (
                "postgres://u:p@h/d?sslmode=require&options=-cwork_mem%3D8MB",
                format!("postgres://u:p@h/d?sslmode=require&options=-cwork_mem%3D8MB%20{option}"),
            ),
        ] {
            assert_eq!(in_url(url, PATH), wanted);
        }
    }

    #[test]
    fn pairs_keep_their_options() {
        let url = "host=h password='it\\'s = x' options='-c work_mem=8MB' dbname=d";
        let wanted = "host=h password='it\\'s = x' options='-c work_mem=8MB' dbname=d \
            options='-c work_mem=8MB -csearch_path=v,\\\\ public'";
        assert_eq!(in_url(url, "v, public"), wanted);
    }

    #[test]
    fn blanks_in_a_path_are_escaped() {
        assert_eq!(
            options("-cx=1 ", "\"a b\\c\""),
            "-cx=1 -csearch_path=\"a\\ b\\\\c\""
        );
    }
}
