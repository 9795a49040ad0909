//! What can go wrong with a database, with what to do about it.

use tokio_postgres::error::SqlState;

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is none. The URL itself is not shown: it may hold a password.
    #[error("the database's URL cannot be understood: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate that the URL names, or the system's, cannot be used.
    #[error("certificates for the database cannot be read: {reason}")]
    Certificates {
        /// Why.
        reason: String,
    },
    /// Nobody answered, or what answered refused.
    #[error("cannot connect to the database at {place}: {}", said(source))]
    Connect {
        /// Host and port.
        place: String,
        /// What happened.
        source: tokio_postgres::Error,
    },
    /// The time for a connection is over.
    #[error("cannot connect to the database at {place}: no answer within {seconds} s")]
    ConnectTimeout {
        /// Host and port.
        place: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The server refused a statement, or the connection was lost meanwhile.
    #[error("cannot {doing}: {}", said(source))]
    Sql {
        /// What the statement was for.
        doing: String,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// There is no schema of that name.
    #[error("the database has no schema `{name}`")]
    NoSchema {
        /// The name.
        name: String,
    },
    /// The server is older than what is known.
    #[error("PostgreSQL {} is too old: 14 is the oldest that is supported", version / 10_000)]
    TooOld {
        /// `server_version_num`.
        version: u32,
    },
    /// The catalogue holds something that is not understood.
    #[error("the catalogue's entry for `{object}` cannot be understood: {source}")]
    Unreadable {
        /// What was read.
        object: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl DatabaseError {
    /// What the server calls it, if it said something.
    #[must_use]
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Sql { source, .. } => source.code(),
            _ => None,
        }
    }
}

/// What the server said, with its detail and hint; else what the connection did.
pub(crate) fn said(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        return text;
    };
    let mut text = format!("{} ({})", server.message(), server.code().code());
    for more in [server.detail(), server.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

/// Names what a statement was for, so that its failure can be told.
pub(crate) trait Doing<T> {
    /// Turns the error into one that says what failed.
    fn doing(self, what: &str) -> Result<T, DatabaseError>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, what: &str) -> Result<T, DatabaseError> {
        self.map_err(|source| DatabaseError::Sql {
            doing: what.to_owned(),
            source,
        })
    }
}
