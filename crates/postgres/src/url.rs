//! A database's URL, as libpq understands it, with its forms of encryption.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use model::connection_string::{Uri, pairs};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::DatabaseError;

/// Where a database is and how to be let in. Never shows the password.
#[derive(Clone)]
pub struct Url {
    pub(crate) config: Config,
    pub(crate) encryption: Encryption,
    pub(crate) root: Option<PathBuf>,
}

/// How the connection is protected: `sslmode` of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// `disable`: not at all.
    None,
    /// `allow`, `prefer`, and nothing said: where the server can, whoever it is.
    Offered,
    /// `require`: always, whoever the server is; with `sslrootcert` as `verify-ca`.
    Required,
    /// `verify-ca`: always, and an authority that we trust knows the server.
    VerifiedAuthority,
    /// `verify-full`: always, and it is the host of the URL.
    VerifiedHost,
}

/// A connection that nobody answers is given up; one that dies is noticed.
const CONNECT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

impl Url {
    /// Understands `postgresql://user:password@host:port/database?sslmode=verify-full` and
    /// libpq's `host=… dbname=…`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Url`], which does not repeat the URL.
    pub fn parse(text: &str) -> Result<Self, DatabaseError> {
        let Taken { rest, mode, root } = take(text);
        let mut config = Config::from_str(&rest).map_err(|error| DatabaseError::Url {
            reason: crate::error::said(&error),
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(DatabaseError::Url {
                reason: "it names no host".to_owned(),
            });
        }
        let encryption = encryption(mode.as_deref(), root.is_some())?;
        config.ssl_mode(match encryption {
            Encryption::None => SslMode::Disable,
            Encryption::Offered => SslMode::Prefer,
            Encryption::Required | Encryption::VerifiedAuthority | Encryption::VerifiedHost => {
                SslMode::Require
            }
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(2);
        config.tcp_user_timeout(UNACKNOWLEDGED);
        Ok(Self {
            config,
            encryption,
            root: root.map(PathBuf::from),
        })
    }

    /// How the connection is protected.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// Host, port and database, for a person.
    #[must_use]
    pub fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self
                .config
                .get_hostaddrs()
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_dbname() {
            Some(name) => format!("{host}:{port}/{name}"),
            None => format!("{host}:{port}"),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.place())
    }
}

struct Taken {
    rest: String,
    mode: Option<String>,
    root: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out: the driver knows three modes and no certificates.
fn take(text: &str) -> Taken {
    let mut taken = Taken {
        rest: String::new(),
        mode: None,
        root: None,
    };
    match Uri::parse(text) {
        Some(mut uri) => {
            taken.mode = uri.take("sslmode");
            taken.root = uri.take("sslrootcert");
            taken.rest = uri.text();
        }
        None => {
            let mut kept = Vec::new();
            for pair in pairs(text) {
                match pair.key {
                    "sslmode" => taken.mode = Some(pair.value),
                    "sslrootcert" => taken.root = Some(pair.value),
                    _ => kept.push(pair.text),
                }
            }
            taken.rest = kept.join(" ");
        }
    }
    taken
}

fn encryption(mode: Option<&str>, root: bool) -> Result<Encryption, DatabaseError> {
    Ok(match mode {
        Some("disable") => Encryption::None,
        None | Some("allow" | "prefer") => Encryption::Offered,
        Some("require") if root => Encryption::VerifiedAuthority,
        Some("require") => Encryption::Required,
        Some("verify-ca") => Encryption::VerifiedAuthority,
        Some("verify-full") => Encryption::VerifiedHost,
        Some(other) => {
            return Err(DatabaseError::Url {
                reason: format!(
                    "sslmode `{other}` is none of disable, allow, prefer, require, verify-ca, \
                     verify-full"
                ),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_libpq() {
        let cases = [
            ("postgresql://u@h/d", Encryption::Offered),
            ("postgresql://u@h/d?sslmode=disable", Encryption::None),
            (
                "postgresql://u@h/d?sslmode=require&application_name=x",
                Encryption::Required,
            ),
            (
                "postgresql://u@h/d?sslmode=require&sslrootcert=%2Fca.pem",
                Encryption::VerifiedAuthority,
            ),
            (
                "host=h dbname=d sslmode=verify-full",
                Encryption::VerifiedHost,
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(Url::parse(text).unwrap().encryption(), wanted, "{text}");
        }
        let url = Url::parse("postgresql://u@h/d?sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!(url.root, Some(PathBuf::from("/etc/ca.pem")));
    }

    #[test]
    fn a_quoted_password_may_hold_anything() {
        let text = "host=h user=u password='a://b  sslmode=x?' sslmode='disable'";
        let url = Url::parse(text).unwrap();
        assert_eq!(url.encryption(), Encryption::None);
        assert_eq!(url.config.get_password(), Some(&b"a://b  sslmode=x?"[..]));
    }

    #[test]
    fn neither_errors_nor_debug_show_the_password() {
        let url = Url::parse("postgresql://u:hunter2@h:5433/d").unwrap();
        assert_eq!(format!("{url:?}"), "Url(h:5433/d)");
        for text in [
            "postgresql://u:hunter2@h:notaport/d",
            "postgresql://u:hunter2@h/d?sslmode=maybe",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
