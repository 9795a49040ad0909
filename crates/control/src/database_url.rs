//! A database's URL with another database or another login in it.

use model::connection_string::{Uri, decode, encode, pair, with_pairs};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::digest::hex;

/// The longest name that PostgreSQL keeps, in bytes.
const NAME_MAX: usize = 63;

/// The database that a pool must lead to a version: the URL's, and the version's schema.
#[must_use]
pub fn alias(url: &str, schema: &str) -> String {
    format!("{}_{schema}", database(url))
}

/// The same URL by the alias of a version.
#[must_use]
pub fn in_alias(url: &str, schema: &str) -> String {
    in_database(url, &alias(url, schema))
}

/// A role of a version's own.
pub struct VersionLogin {
    /// The role of the URL, whose rights it has.
    pub base: String,
    /// Its name.
    pub role: String,
    /// Its password, which only follows from that of the URL.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for VersionLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionLogin")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// The role of a version for the programs of a URL: another one for another user.
///
/// # Errors
///
/// When the URL lacks a user or a password, in a sentence that does not repeat it.
pub fn version_login(url: &str, schema: &str) -> Result<VersionLogin, String> {
    let (user, password) = login(url);
    let lacks = |what: &str| {
        format!(
            "`search_path = \"role\"` needs a URL with a user and a password: this one has no {what}"
        )
    };
    let base = user.ok_or_else(|| lacks("user"))?;
    let password = Zeroizing::new(password.ok_or_else(|| lacks("password"))?);
    let role = fitting(format!("{base}_{schema}"));
    let digest = Sha256::new()
        .chain_update(b"gapless role\0")
        .chain_update(role.as_bytes())
        .chain_update(b"\0")
        .chain_update(password.as_bytes())
        .finalize();
    Ok(VersionLogin {
        base,
        role,
        password: Zeroizing::new(hex(&digest)),
    })
}

/// A name as it is, or its beginning and a digest of it.
fn fitting(name: String) -> String {
    if name.len() <= NAME_MAX {
        return name;
    }
    let digest = hex(&Sha256::digest(name.as_bytes())[..4]);
    let mut end = NAME_MAX - 1 - digest.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{digest}", &name[..end])
}

/// The database that a URL names; that of its user where it names none.
#[must_use]
pub fn database(url: &str) -> String {
    let (name, user) = match Uri::parse(url) {
        Some(uri) => (
            uri.database
                .map(decode)
                .filter(|name| !name.is_empty())
                .or_else(|| uri.option("dbname")),
            uri.user(),
        ),
        None => (pair(url, "dbname"), pair(url, "user")),
    };
    name.or(user).unwrap_or_default()
}

/// The same URL with another database.
#[must_use]
pub fn in_database(url: &str, name: &str) -> String {
    let Some(mut uri) = Uri::parse(url) else {
        return with_pairs(url, &[("dbname", name)]);
    };
    uri.take("dbname");
    let name = encode(name);
    uri.database = Some(&name);
    uri.text()
}

/// The user and the password that a URL names.
#[must_use]
pub fn login(url: &str) -> (Option<String>, Option<String>) {
    match Uri::parse(url) {
        Some(uri) => (uri.user(), uri.password()),
        None => (pair(url, "user"), pair(url, "password")),
    }
}

/// The same URL with another user and password.
#[must_use]
pub fn with_login(url: &str, (user, password): (&str, &str)) -> String {
    let Some(mut uri) = Uri::parse(url) else {
        return with_pairs(url, &[("user", user), ("password", password)]);
    };
    for key in ["user", "password"] {
        uri.take(key);
    }
    let login = format!("{}:{}", encode(user), encode(password));
    uri.login = Some(&login);
    uri.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        for (url, name, wanted) in [
            (
                "postgres://u:p@h:1/d?a=b",
                "d",
                "postgres://u:p@h:1/d_v?a=b",
            ),
            ("postgres://u@h1,h2", "u", "postgres://u@h1,h2/d_v"),
            (
                "postgres:///?dbname=d%20e&a=b",
                "d e",
                "postgres:///d_v?a=b",
            ),
            (
                "host=h dbname='d e' user=u",
                "d e",
                "host=h dbname='d e' user=u dbname='d_v'",
            ),
            (
                "host=h dbname=d password=a://b",
                "d",
                "host=h dbname=d password=a://b dbname='d_v'",
            ),
        ] {
            assert_eq!(database(url), name, "{url}");
            assert_eq!(in_database(url, "d_v"), wanted, "{url}");
        }
    }

    #[test]
    fn the_login_of_a_url_is_replaced() {
        for (url, user, password, wanted) in [
            (
                "postgres://u%40x:p%3Aq@h/d#f",
                "u@x",
                Some("p:q"),
                "postgres://v%2Fw:s@h/d#f",
            ),
            (
                "postgres://h/d?user=u&a=b",
                "u",
                None,
                "postgres://v%2Fw:s@h/d?a=b",
            ),
            (
                "user=u password='it\\'s'",
                "u",
                Some("it's"),
                "user=u password='it\\'s' user='v/w' password='s'",
            ),
        ] {
            let known = (Some(user.to_owned()), password.map(str::to_owned));
            assert_eq!(login(url), known, "{url}");
            assert_eq!(with_login(url, ("v/w", "s")), wanted, "{url}");
        }
    }

    #[test]
    fn a_versions_login_follows_from_the_urls() {
        let one = version_login("postgres://app:s3cret@h/d", "public_02").unwrap();
        assert_eq!(
            (one.base.as_str(), one.role.as_str()),
            ("app", "app_public_02")
        );
        let again = version_login("user=app password=s3cret", "public_02").unwrap();
        assert_eq!(one.password, again.password);
        let other = version_login("postgres://app:other@h/d", "public_02").unwrap();
        assert_ne!(one.password, other.password);
        let long = version_login("postgres://app:s3cret@h/d", &"v".repeat(63)).unwrap();
        assert_eq!(long.role.len(), NAME_MAX);
        let error = version_login("postgres://app@h/d", "public_02").unwrap_err();
        assert!(error.contains("no password"), "{error}");
    }
}
