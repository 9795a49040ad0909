//! Host patterns and paths.

use super::{Form, Parsed, write};
use crate::value::Value;

/// A host name, with `*.` in front for any one below it.
pub(crate) const HOST: Form = Form::new(
    "a host name such as \"shop.example.com\", or \"*.example.com\" for all below it",
    "^(\\*\\.)?[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?(\\.[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?)*$",
    |text| host(text.strip_prefix("*.").unwrap_or(text), text),
);

/// One host name.
pub(crate) const PREVIEW_HOST: Form = Form::new(
    "a host name such as \"preview.example.com\"",
    "^[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?(\\.[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?)*$",
    |text| host(text, text),
);

/// What a certificate is for.
pub(crate) const TLS_NAME: Form = Form::new(
    "a host name or address such as \"localhost\" or \"127.0.0.1\"",
    "^[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?(\\.[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?)*$",
    |text| host(text, text),
);

/// The beginning of a request's path.
pub(crate) const PATH: Form = Form::new(
    "a path prefix that begins with /, such as \"/api\"",
    "^/([!-\"$-)+->@-~]+/?)*$",
    path,
);

/// What a probe asks for.
pub(crate) const HTTP_PATH: Form = Form::new(
    "a path that begins with /, such as \"/healthz\"",
    "^/[!-\"$-~]*$",
    |text| match text.strip_prefix('/') {
        Some(rest) if rest.bytes().all(is_path_or_query) => Ok(Value::Text(text.to_owned())),
        Some(_) => Err(None),
        None => Err(with_slash(text)),
    },
);

fn host(name: &str, text: &str) -> Parsed {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let edges = !label.starts_with('-') && !label.ends_with('-');
        inner && edges && (1..=63).contains(&label.len())
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(Value::Text(text.to_ascii_lowercase()));
    }
    let bare = text
        .trim_start_matches("http://")
        .trim_start_matches("https://");
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    let bare = bare.trim_end_matches('.');
    let is_host = bare != text && bare.split('.').all(label);
    Err(is_host.then(|| write(bare)).flatten())
}

/// Checks a prefix and takes the slash from its end, which whole segments do not need.
fn path(text: &str) -> Parsed {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(with_slash(text));
    };
    let trimmed = rest.strip_suffix('/').unwrap_or(rest);
    if trimmed.is_empty() && !rest.is_empty() {
        return Err(write("/"));
    }
    let segment = |segment: &str| {
        let plain = |b: u8| is_path_or_query(b) && b != b'?' && b != b'*';
        !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
    };
    if trimmed.is_empty() || trimmed.split('/').all(segment) {
        return Ok(Value::Text(format!("/{trimmed}")));
    }
    let prefix = trimmed.trim_end_matches(['*', '/']);
    let is_prefix = prefix != trimmed && prefix.split('/').all(segment);
    Err(is_prefix
        .then(|| write(format_args!("/{prefix}")))
        .flatten())
}

fn is_path_or_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

fn with_slash(text: &str) -> Option<String> {
    let is_path = !text.is_empty() && text.bytes().all(is_path_or_query) && !text.contains(':');
    is_path.then(|| write(format_args!("/{text}"))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(form: &Form, text: &str) -> Option<String> {
        match form.parse(text) {
            Ok(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn hosts_are_names_with_at_most_a_leading_wildcard() {
        for (text, host) in [
            ("shop.example.com", "shop.example.com"),
            ("Shop.Example.COM", "shop.example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(accepted(&HOST, text), Some(host.to_owned()), "{text}");
        }
        for text in [
            "", "*", "a.*.com", "*a.com", "*.*.com", "-a.com", "a..b", "a_b", "é.com",
        ] {
            assert_eq!(accepted(&HOST, text), None, "{text}");
        }
        assert_eq!(accepted(&PREVIEW_HOST, "*.example.com"), None);
    }

    #[test]
    fn hosts_with_more_around_them_are_refused_with_the_host_alone() {
        for text in ["https://a.com/", "a.com:443", "a.com.", "a.com/x"] {
            assert_eq!(HOST.parse(text).err(), Some(write("a.com")), "{text}");
        }
    }

    #[test]
    fn paths_are_prefixes_of_whole_segments() {
        for (text, path) in [
            ("/", "/"),
            ("/api", "/api"),
            ("/api/", "/api"),
            ("/a/b-c", "/a/b-c"),
        ] {
            assert_eq!(accepted(&PATH, text), Some(path.to_owned()), "{text}");
        }
        for (text, instead) in [
            ("api", Some("/api")),
            ("/api/*", Some("/api")),
            ("//", Some("/")),
            ("", None),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a b", None),
            ("/a?b", None),
            ("/a#b", None),
        ] {
            assert_eq!(
                PATH.parse(text).err(),
                Some(instead.and_then(write)),
                "{text}"
            );
        }
    }

    #[test]
    fn probes_may_ask_with_a_query() {
        assert!(HTTP_PATH.parse("/healthz?full=1").is_ok());
        for text in ["", "healthz", "/a b", "/a\r\nHost: b", "/#"] {
            assert!(HTTP_PATH.parse(text).is_err(), "{text}");
        }
    }
}
