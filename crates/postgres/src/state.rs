//! What Gapless remembers in the database itself: the history of changes, and how far the
//! unfinished ones are. In the schema `gapless`, made without superuser.

use migration::plan::Plan;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use crate::error::{DatabaseError, Doing as _};
use crate::unconverted::{self, Unconverted};

/// The format of the tables, raised when one changes; a newer one is not touched.
const FORMAT: i32 = 1;

const TABLES: &str = "
CREATE SCHEMA gapless;
COMMENT ON SCHEMA gapless IS 'what Gapless remembers of schema changes';
CREATE TABLE gapless.format (version int NOT NULL);
INSERT INTO gapless.format VALUES (1);
CREATE TABLE gapless.history (
    installed_rank int PRIMARY KEY,
    version text NOT NULL,
    description text NOT NULL,
    type text NOT NULL,
    script text NOT NULL,
    checksum text NOT NULL,
    installed_by text NOT NULL DEFAULT current_user,
    installed_on timestamptz NOT NULL DEFAULT now(),
    execution_time bigint NOT NULL DEFAULT 0,
    success boolean NOT NULL DEFAULT false,
    base text NOT NULL,
    phase text NOT NULL,
    source text,
    plan text,
    reason text
);
CREATE UNIQUE INDEX history_version ON gapless.history (base, version) WHERE phase <> 'aborted';
CREATE TABLE gapless.step (
    installed_rank int NOT NULL REFERENCES gapless.history,
    part text NOT NULL,
    position int NOT NULL,
    finished_on timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installed_rank, part, position)
);
CREATE TABLE gapless.backfill (
    installed_rank int NOT NULL REFERENCES gapless.history,
    position int NOT NULL,
    cursor text[],
    last_page bigint,
    rows_done bigint NOT NULL DEFAULT 0,
    failed_rows bigint NOT NULL DEFAULT 0,
    failed_keys text[] NOT NULL DEFAULT '{}',
    failed_reason text,
    finished boolean NOT NULL DEFAULT false,
    PRIMARY KEY (installed_rank, position)
);";

/// Added to the tables later, and so made where it is not.
const UNCONVERTED: &str = "
CREATE TABLE IF NOT EXISTS gapless.unconverted (
    installed_rank int NOT NULL,
    \"table\" text NOT NULL,
    key text,
    error text NOT NULL,
    noted_on timestamptz NOT NULL DEFAULT clock_timestamp()
);";

/// Two that look at the same time must not both make the tables.
const MAKING: i64 = 0x6761_706c_6573_7301;

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// New columns, triggers and rules are being made; nobody sees them.
    Expand,
    /// Rows are being filled in.
    Backfill,
    /// Rules are being validated and the version's schema made.
    Publish,
    /// Old and new versions are both served.
    Published,
    /// What the old version needed is being removed.
    Contract,
    /// Done for good.
    Contracted,
    /// All of it is being taken back.
    Abort,
    /// All of it was taken back.
    Aborted,
}

impl Phase {
    /// As it stands in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Publish => "publish",
            Self::Published => "published",
            Self::Contract => "contract",
            Self::Contracted => "contracted",
            Self::Abort => "abort",
            Self::Aborted => "aborted",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Expand,
            Self::Backfill,
            Self::Publish,
            Self::Published,
            Self::Contract,
            Self::Contracted,
            Self::Abort,
            Self::Aborted,
        ];
        all.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether nothing more happens to the change by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self {
            Self::Published | Self::Contracted | Self::Aborted => true,
            Self::Expand | Self::Backfill | Self::Publish | Self::Contract | Self::Abort => false,
        }
    }
}

/// What kind of change an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// Operations in a file.
    Change,
    /// Plain SQL.
    Sql,
    /// The schema as it was found.
    Baseline,
}

impl Kind {
    /// As it stands in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Change => "CHANGE",
            Self::Sql => "SQL",
            Self::Baseline => "BASELINE",
        }
    }
}

/// A change that is to be made.
#[derive(Debug, Clone)]
pub struct Change {
    /// The name that nothing else has: its file's, without the ending.
    pub version: String,
    /// For a person.
    pub description: String,
    /// What kind of change.
    pub kind: Kind,
    /// The file's name.
    pub script: String,
    /// Of the file's content.
    pub checksum: String,
    /// The file's content, from which later parts are planned again when their time has come;
    /// `None` for a plan that was made otherwise, which is carried out as it is.
    pub source: Option<String>,
    /// What is to be done.
    pub plan: Plan,
}

/// A change as the database remembers it.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its place in the order.
    pub installed_rank: i32,
    /// Its name.
    pub version: String,
    /// For a person.
    pub description: String,
    /// `CHANGE`, `SQL` or `BASELINE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its file.
    pub script: String,
    /// Of the file's content when it began.
    pub checksum: String,
    /// The role that made it.
    pub installed_by: String,
    /// When it began, RFC 3339.
    pub installed_on: String,
    /// Milliseconds of work.
    pub execution_time: i64,
    /// Whether its schema is right.
    pub success: bool,
    /// The schema of the tables.
    pub base: String,
    /// How far it is.
    pub phase: Phase,
    /// Why it was taken back.
    pub reason: Option<String>,
    /// The content of its file when it began.
    #[serde(skip)]
    pub source: Option<String>,
    /// What is done to make it; `None` for a baseline.
    #[serde(skip)]
    pub plan: Option<Plan>,
    /// Rows that were filled in.
    pub rows_done: i64,
    /// Rows that are noted as not converted: there is no contract while there are any.
    pub unconverted: Vec<Unconverted>,
}

const ENTRIES: &str = "
SELECT h.installed_rank, h.version, h.description, h.type, h.script, h.checksum, h.installed_by,
    to_char(h.installed_on AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    h.execution_time, h.success, h.base, h.phase, h.reason, h.plan,
    coalesce((SELECT sum(b.rows_done) FROM gapless.backfill b
        WHERE b.installed_rank = h.installed_rank), 0)::int8, h.source
FROM gapless.history h ORDER BY h.installed_rank";

/// Every change that the database remembers, oldest first; none when it remembers nothing yet.
///
/// # Errors
///
/// When the connection is lost, or a newer Gapless wrote them.
pub async fn history(client: &Client) -> Result<Vec<Entry>, DatabaseError> {
    if format(client).await?.is_none() {
        return Ok(Vec::new());
    }
    let rows = client
        .query(ENTRIES, &[])
        .await
        .doing("read the history of changes")?;
    let mut noted = unconverted::noted(client).await?;
    let with_notes = |row: &Row| {
        let entry = entry(row)?;
        let unconverted = noted.remove(&entry.installed_rank).unwrap_or_default();
        Ok(Entry {
            unconverted,
            ..entry
        })
    };
    rows.iter().map(with_notes).collect()
}

/// How far each change of `base` is that was not taken back, by name; none when nothing is
/// remembered yet.
///
/// # Errors
///
/// As for [`history`].
pub async fn phases(client: &Client, base: &str) -> Result<Vec<(String, Phase)>, DatabaseError> {
    if format(client).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, phase FROM gapless.history
        WHERE base = $1 AND phase <> 'aborted' ORDER BY installed_rank";
    let rows = client.query(sql, &[&base]).await;
    let rows = rows.doing("read the history of changes")?;
    rows.iter()
        .map(|row| Ok((row.get(0), phase(row.get(1))?)))
        .collect()
}

fn phase(name: &str) -> Result<Phase, DatabaseError> {
    Phase::parse(name).ok_or_else(|| DatabaseError::TooNew {
        what: format!("phase `{name}`"),
    })
}

fn entry(row: &Row) -> Result<Entry, DatabaseError> {
    let version: String = row.get(1);
    let unreadable = |source| DatabaseError::Unreadable {
        object: version.clone(),
        source,
    };
    let plan: Option<String> = row.get(13);
    let plan = plan
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(unreadable)?;
    let phase = phase(row.get(11))?;
    Ok(Entry {
        installed_rank: row.get(0),
        version: row.get(1),
        description: row.get(2),
        kind: row.get(3),
        script: row.get(4),
        checksum: row.get(5),
        installed_by: row.get(6),
        installed_on: row.get(7),
        execution_time: row.get(8),
        success: row.get(9),
        base: row.get(10),
        phase,
        reason: row.get(12),
        plan,
        rows_done: row.get(14),
        source: row.get(15),
        unconverted: Vec::new(),
    })
}

async fn format(client: &Client) -> Result<Option<i32>, DatabaseError> {
    let there = client
        .query_one("SELECT to_regclass('gapless.format') IS NOT NULL", &[])
        .await
        .doing("look for the history of changes")?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client
        .query_one("SELECT version FROM gapless.format", &[])
        .await
        .doing("read the format of the history")?;
    let version = row.get(0);
    if version > FORMAT {
        return Err(DatabaseError::TooNew {
            what: format!("format {version}"),
        });
    }
    Ok(Some(version))
}

/// Makes the tables where they are not.
pub(crate) async fn prepare(client: &mut Client) -> Result<(), DatabaseError> {
    if format(client).await?.is_some() {
        return match unconverted::is_there(client).await? {
            true => Ok(()),
            false => made(client.batch_execute(UNCONVERTED).await),
        };
    }
    let may = client
        .query_one(
            "SELECT has_database_privilege(current_database(), 'CREATE'), current_user::text, current_database()::text",
            &[],
        )
        .await
        .doing("look at privileges")?;
    if !may.get::<_, bool>(0) {
        let (role, database): (String, String) = (may.get(1), may.get(2));
        return Err(DatabaseError::Privileges {
            missing: vec![format!(
                "GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\""
            )],
        });
    }
    let transaction = client.transaction().await.doing("begin")?;
    let making = "make the history of changes";
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&MAKING])
        .await
        .doing(making)?;
    if format(transaction.client()).await?.is_none() {
        transaction.batch_execute(TABLES).await.doing(making)?;
        made(transaction.batch_execute(UNCONVERTED).await)?;
    }
    transaction.commit().await.doing(making)
}

fn made(table: Result<(), tokio_postgres::Error>) -> Result<(), DatabaseError> {
    table.doing("make the history of changes")
}

/// The rank that the next entry gets, if nobody else writes one before.
pub(crate) fn next_rank(history: &[Entry]) -> i32 {
    history.last().map_or(1, |entry| entry.installed_rank + 1)
}

/// Writes a new entry with its plan.
pub(crate) async fn begin(
    client: &Client,
    rank: i32,
    change: &Change,
) -> Result<(), DatabaseError> {
    let plan = serde_json::to_string(&change.plan).expect("a plan is plain data");
    client
        .execute(
            "INSERT INTO gapless.history (installed_rank, version, description, type, script,
                checksum, base, phase, source, plan)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &rank,
                &change.version,
                &change.description,
                &change.kind.name(),
                &change.script,
                &change.checksum,
                &change.plan.version.base,
                &Phase::Expand.name(),
                &change.source,
                &plan,
            ],
        )
        .await
        .doing("write the history of changes")?;
    Ok(())
}

/// Writes that everything up to `version` was there before the history began.
pub(crate) async fn baseline(
    client: &Client,
    base: &str,
    version: &str,
) -> Result<(), DatabaseError> {
    client
        .execute(
            "INSERT INTO gapless.history (installed_rank, version, description, type, script,
                checksum, base, phase, success)
             SELECT coalesce(max(installed_rank), 0) + 1, $1, 'as it was found', $2, '', '', $3, $4, true
             FROM gapless.history",
            &[&version, &Kind::Baseline.name(), &base, &Phase::Contracted.name()],
        )
        .await
        .doing("write the history of changes")?;
    Ok(())
}

/// Puts a new plan in an entry's, and moves it to `phase`, at once.
pub(crate) async fn set_plan(
    client: &Client,
    (rank, phase): (i32, Phase),
    plan: &Plan,
) -> Result<(), DatabaseError> {
    let plan = serde_json::to_string(plan).expect("a plan is plain data");
    let sql = "UPDATE gapless.history SET plan = $2, phase = $3 WHERE installed_rank = $1";
    let set = client.execute(sql, &[&rank, &plan, &phase.name()]).await;
    set.doing("write the history of changes")?;
    Ok(())
}

/// Puts the checksum of a file as it is now in an entry's.
pub(crate) async fn set_checksum(
    client: &Client,
    rank: i32,
    checksum: &str,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE gapless.history SET checksum = $2 WHERE installed_rank = $1";
    client
        .execute(sql, &[&rank, &checksum])
        .await
        .doing("write the history of changes")?;
    Ok(())
}

/// Moves an entry to `phase`.
pub(crate) async fn set_phase(
    client: &Client,
    rank: i32,
    phase: Phase,
    reason: Option<&str>,
) -> Result<(), DatabaseError> {
    let success = matches!(
        phase,
        Phase::Published | Phase::Contract | Phase::Contracted
    );
    client
        .execute(
            "UPDATE gapless.history SET phase = $2, success = $3, reason = coalesce($4, reason)
             WHERE installed_rank = $1",
            &[&rank, &phase.name(), &success, &reason],
        )
        .await
        .doing("write the history of changes")?;
    Ok(())
}

/// Adds milliseconds to an entry's work.
pub(crate) async fn add_time(client: &Client, rank: i32, millis: i64) -> Result<(), DatabaseError> {
    let sql =
        "UPDATE gapless.history SET execution_time = execution_time + $2 WHERE installed_rank = $1";
    client
        .execute(sql, &[&rank, &millis])
        .await
        .doing("write the history of changes")?;
    Ok(())
}
