//! What can go wrong with a database, with what to do about it.

use tokio_postgres::error::SqlState;

use crate::unconverted::Unconverted;

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
    /// A newer Gapless wrote the history of changes.
    #[error("a newer Gapless wrote the history of changes ({what}): use that one")]
    TooNew {
        /// What is not known.
        what: String,
    },
    /// A pool between us and the server lends its sessions by the transaction.
    #[error(
        "{place} gives each transaction another session, as PgBouncer does with pool_mode = transaction: \
         the locks and settings of a change would not hold; give the server's own address, or that of a \
         pool with pool_mode = session"
    )]
    Pooled {
        /// Host and port.
        place: String,
    },
    /// Another runner is at work on this database.
    #[error("another change of this database's schema is running: {holder}")]
    Busy {
        /// Who.
        holder: String,
    },
    /// The role may not do what the change needs.
    #[error("the role lacks privileges; needed: {}", missing.join("; "))]
    Privileges {
        /// The statements that give them.
        missing: Vec<String>,
    },
    /// The plan asks about something, and nobody has said yes.
    #[error("the change wants somebody's consent: {}", asks.join("; "))]
    Asks {
        /// About what.
        asks: Vec<String>,
    },
    /// Others held what a step needs for too long.
    #[error("cannot {title}: gave up after {seconds} s; in the way: {}", blockers.join("; "))]
    Patience {
        /// What the step does.
        title: String,
        /// How long it was tried.
        seconds: u64,
        /// Who was in the way at last.
        blockers: Vec<String>,
    },
    /// What runs alone did not become what it should, however often it was tried.
    #[error("cannot {title}: not done after {tries} tries")]
    NeverDone {
        /// What the step does.
        title: String,
        /// How often.
        tries: u32,
    },
    /// Some rows cannot be filled in.
    #[error(
        "{}{rows} {} of {table} cannot be filled in{}: {reason}",
        if *more { "at least " } else { "" },
        if *rows == 1 { "row" } else { "rows" },
        such_as(keys)
    )]
    RowsRefuse {
        /// The table.
        table: String,
        /// How many were found.
        rows: i64,
        /// Whether there may be more.
        more: bool,
        /// The keys of some.
        keys: Vec<String>,
        /// What the server said of the first.
        reason: String,
    },
    /// A change cannot end: rows would lose what a program of an older version wrote.
    #[error(
        "`{version}` is not contracted: {} {} of {} {} what a program of an older version wrote and `up` \
         could not convert{}: {}; write another value to {} through either version, or delete {}",
        rows.rows,
        if rows.rows == 1 { "row" } else { "rows" },
        rows.table,
        if rows.rows == 1 { "holds" } else { "hold" },
        such_as(&rows.keys),
        rows.reason,
        if rows.rows == 1 { "it" } else { "each" },
        if rows.rows == 1 { "it" } else { "them" },
    )]
    Unconverted {
        /// The change.
        version: String,
        /// The rows of one table.
        rows: Unconverted,
    },
    /// The change was refused, and all of it was taken back.
    #[error("`{version}` was taken back, nothing was published: {source}")]
    TakenBack {
        /// The change.
        version: String,
        /// Why.
        source: Box<DatabaseError>,
    },
    /// The change was refused, and taking it back failed too.
    #[error("`{version}` failed ({reason}), and could not be taken back yet: {source}")]
    NotTakenBack {
        /// The change.
        version: String,
        /// Why it failed.
        reason: String,
        /// Why it could not be taken back.
        source: Box<DatabaseError>,
    },
    /// A migration file does not fit the database.
    #[error("`{script}` cannot be carried out")]
    Refused {
        /// The file.
        script: String,
        /// Every mistake with its place, for a person.
        shown: String,
    },
    /// The history does not allow it.
    #[error("{what}")]
    History {
        /// Why.
        what: String,
    },
    /// Somebody else looks after the changes of a schema.
    #[error("the schema `{base}` is looked after by {by} since {since}")]
    Owned {
        /// The schema.
        base: String,
        /// Who it is.
        by: String,
        /// Since when, RFC 3339.
        since: String,
    },
    /// Somebody wanted it to stop; it can be carried on.
    #[error("stopped; what was done stays, and running it again carries on")]
    Stopped,
}

impl DatabaseError {
    pub(crate) fn history(what: String) -> Self {
        Self::History { what }
    }

    /// Whether others held what was needed: again later may work.
    #[must_use]
    pub fn is_contention(&self) -> bool {
        let states = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
        ];
        self.sql_state().is_some_and(|state| states.contains(state))
    }

    /// Whether the values of a row are to blame.
    pub(crate) fn is_about_rows(&self) -> bool {
        self.of_class(&["22", "23", "P0"])
    }

    /// Whether the same will happen again however often it is tried. A lost connection, a full
    /// disk, a server that shuts down and a person's wish are not for good.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::RowsRefuse { .. } | Self::NeverDone { .. } | Self::Refused { .. } => true,
            _ => {
                !self.is_contention()
                    && self.of_class(&[
                        "0A", "21", "22", "23", "26", "2B", "34", "42", "44", "54", "55", "P0",
                    ])
            }
        }
    }

    /// Whether the same may succeed a moment later without anybody changing anything: others were
    /// in the way, the connection was lost, or nobody answered.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::ConnectTimeout { .. } | Self::Stopped => true,
            Self::NotTakenBack { source, .. } => source.may_pass(),
            Self::Connect { source, .. } | Self::Sql { source, .. } => match source.code() {
                None => true,
                // A lost connection, too many of them, a server that starts or ends.
                Some(_) => self.is_contention() || self.of_class(&["08", "53", "57"]),
            },
            Self::Url { .. }
            | Self::Certificates { .. }
            | Self::NoSchema { .. }
            | Self::TooOld { .. }
            | Self::Unreadable { .. }
            | Self::TooNew { .. }
            | Self::Privileges { .. }
            | Self::Asks { .. }
            | Self::Patience { .. }
            | Self::NeverDone { .. }
            | Self::RowsRefuse { .. }
            | Self::Unconverted { .. }
            | Self::TakenBack { .. }
            | Self::Refused { .. }
            | Self::Pooled { .. }
            | Self::Owned { .. }
            | Self::History { .. } => false,
        }
    }

    fn of_class(&self, classes: &[&str]) -> bool {
        let state = self.sql_state().map(SqlState::code);
        state.is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
    }

    /// What the server calls it, if it said something.
    #[must_use]
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Sql { source, .. } => source.code(),
            _ => None,
        }
    }
}

/// Some keys for a person; none where rows have no key.
fn such_as(keys: &[String]) -> String {
    match keys.is_empty() {
        true => String::new(),
        false => format!(", such as {}", keys.join(", ")),
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
