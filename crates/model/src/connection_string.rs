//! The two forms in which libpq is told of a database, a URL and `key=value`, taken apart and put
//! together again.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is written as `%XX`: all but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a URL begins with; all else is `key=value`, as libpq has it.
const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// The parts of `postgresql://login@hosts/database?query#fragment`, as they are written.
pub struct Uri<'a> {
    scheme: &'a str,
    /// `user:password`.
    pub login: Option<&'a str>,
    hosts: &'a str,
    /// Its name.
    pub database: Option<&'a str>,
    /// `key=value`, each.
    pub query: Vec<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Takes a URL apart; `None` where it is libpq's other form.
    #[must_use]
    pub fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        if !SCHEMES.contains(&scheme) {
            return None;
        }
        let (rest, fragment) = split(rest, '#');
        let (rest, query) = split(rest, '?');
        let (authority, database) = split(rest, '/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let pairs = query.unwrap_or_default().split('&');
        Some(Self {
            scheme,
            login,
            hosts,
            database,
            query: pairs.filter(|pair| !pair.is_empty()).collect(),
            fragment,
        })
    }

    /// The value of a key of the query: the last one counts.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<String> {
        let mut pairs = self.query.iter().filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.rfind(|(known, _)| *known == key)?;
        Some(decode(value))
    }

    /// Takes a key out of the query, however often it is there, and returns its value.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let value = self.option(key);
        let named = |pair: &str| pair.split_once('=').is_some_and(|(known, _)| known == key);
        self.query.retain(|pair| !named(pair));
        value
    }

    /// Who logs in.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        let named = self.login.map(|login| split(login, ':').0);
        let named = named.filter(|user| !user.is_empty()).map(decode);
        self.option("user").or(named)
    }

    /// The password, in clear.
    #[must_use]
    pub fn password(&self) -> Option<String> {
        let named = self.login.and_then(|login| split(login, ':').1);
        self.option("password").or_else(|| named.map(decode))
    }

    /// The whole URL.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}://", self.scheme);
        if let Some(login) = self.login {
            text.push_str(login);
            text.push('@');
        }
        text.push_str(self.hosts);
        if let Some(database) = self.database {
            text.push('/');
            text.push_str(database);
        }
        for (index, pair) in self.query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(pair);
        }
        if let Some(fragment) = self.fragment {
            text.push('#');
            text.push_str(fragment);
        }
        text
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// One `key = 'value'`.
pub struct Pair<'a> {
    /// As it is written.
    pub text: &'a str,
    /// Its key.
    pub key: &'a str,
    /// Its value without quotes.
    pub value: String,
}

/// The pairs of libpq's `key=value` form. What is none, at the end, is a key without a value.
#[must_use]
pub fn pairs(text: &str) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap_or((rest, ""));
        let (value, left) = value(after.trim_start());
        found.push(Pair {
            text: &rest[..rest.len() - left.len()],
            key: key.trim(),
            value,
        });
        rest = left.trim_start();
    }
    found
}

/// The value of a key in libpq's `key=value` form: the last one counts.
#[must_use]
pub fn pair(text: &str, wanted: &str) -> Option<String> {
    let mut pairs = pairs(text).into_iter();
    Some(pairs.rfind(|pair| pair.key == wanted)?.value)
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

/// libpq's `key=value` form with other values: the last of equal keys counts, so it is enough to
/// add some.
#[must_use]
pub fn with_pairs(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = text.trim_end().to_owned();
    for (key, value) in pairs {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        text.push_str(&format!(" {key}='{value}'"));
    }
    text
}

/// A text as it is written in a URL.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A text of a URL as it is meant.
#[must_use]
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_libpq_takes_for_a_url_is_one() {
        for url in ["postgres://h/d", " postgresql://u:p@h:1,i:2/d?a=b&c=d#f\n"] {
            let uri = Uri::parse(url).expect(url);
            assert_eq!(uri.text(), url.trim());
        }
        for pairs in [
            "host=h password=a://b user=u",
            "password='postgres://x' host=h",
            "Postgres://h/d",
            "mysql://h/d",
        ] {
            assert!(Uri::parse(pairs).is_none(), "{pairs}");
        }
    }

    #[test]
    fn what_is_taken_out_of_a_query_is_gone() {
        let mut uri = Uri::parse("postgres://h?a=1&ab=2&a=%33").unwrap();
        assert_eq!(uri.take("a").as_deref(), Some("3"));
        assert_eq!(uri.take("a"), None);
        assert_eq!(uri.text(), "postgres://h?ab=2");
    }

    #[test]
    fn pairs_are_found_whatever_their_values_hold() {
        let text = "host = h password='a://b  it\\'s c=d' user=x\\ y  end";
        let all: Vec<(&str, &str, String)> = pairs(text)
            .into_iter()
            .map(|pair| (pair.text, pair.key, pair.value))
            .collect();
        let wanted = [
            ("host = h", "host", "h"),
            (
                "password='a://b  it\\'s c=d'",
                "password",
                "a://b  it's c=d",
            ),
            ("user=x\\ y", "user", "x y"),
            ("end", "end", ""),
        ];
        assert_eq!(
            all,
            wanted.map(|(text, key, value)| (text, key, value.to_owned()))
        );
        assert_eq!(pair("a=1 b=2 a=3", "a").as_deref(), Some("3"));
    }
}
