//! `pgbench` as the programs of a version: as many transactions as go, each written down.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use stage::Cluster;

/// Nobody runs it longer.
const SECONDS_MAX: &str = "1800";

/// Programs of one version at work.
pub(super) struct Pgbench {
    child: Child,
    folder: tempfile::TempDir,
    /// The same moment by both clocks: `pgbench` writes the other one down.
    begun: (Instant, SystemTime),
}

/// One transaction: when it ended, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    at: Instant,
    took: Duration,
}

/// What programs felt from one moment to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Felt {
    /// Transactions.
    pub(super) count: u64,
    pub(super) per_second: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
}

impl Pgbench {
    /// `clients` sessions that run `script` by `search_path = path`.
    pub(super) fn start(
        cluster: &Cluster,
        database: &str,
        (path, clients): (&str, u32),
        script: &str,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("pgbench cannot be run: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        std::fs::write(folder.path().join("script"), script).map_err(failed)?;
        let errors = File::create(folder.path().join("errors")).map_err(failed)?;
        let child = Command::new(cluster.program("pgbench"))
            .args(["--no-vacuum", "--log", "--log-prefix=log", "--jobs=1"])
            .args([
                "--protocol=prepared",
                "--file=script",
                "--time",
                SECONDS_MAX,
            ])
            .arg(format!("--client={clients}"))
            .arg(cluster.url(database, database))
            .env("PGOPTIONS", format!("-c search_path={path}"))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        let begun = (Instant::now(), SystemTime::now());
        Ok(Self {
            child,
            folder,
            begun,
        })
    }

    /// Ends it and returns every transaction.
    ///
    /// # Errors
    ///
    /// When one of them failed, or it ended by itself.
    pub(super) fn end(mut self) -> Result<Vec<Done>, String> {
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let errors = std::fs::read_to_string(self.folder.path().join("errors"));
        let errors = errors.unwrap_or_default();
        if !matches!(ended, Ok(None)) || errors.contains("ERROR") || errors.contains("abort") {
            return Err(format!("a transaction failed: {errors}"));
        }
        let mut all = Vec::new();
        for path in self.logs()? {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            all.extend(text.lines().filter_map(|line| self.done(line)));
        }
        Ok(all)
    }

    fn logs(&self) -> Result<Vec<PathBuf>, String> {
        let entries = std::fs::read_dir(self.folder.path()).map_err(|error| error.to_string())?;
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let log =
            |path: &PathBuf| path.extension().is_some() && path.to_string_lossy().contains("log.");
        Ok(paths.filter(log).collect())
    }

    /// Client, number, microseconds, script, second, microsecond of it. The last line may be cut.
    fn done(&self, line: &str) -> Option<Done> {
        let fields: Vec<u64> = line.split(' ').map_while(|it| it.parse().ok()).collect();
        let [_, _, took, _, second, micros, ..] = fields.as_slice() else {
            return None;
        };
        let epoch = Duration::from_secs(*second) + Duration::from_micros(*micros);
        let at = SystemTime::UNIX_EPOCH + epoch;
        let since = at.duration_since(self.begun.1).unwrap_or_default();
        Some(Done {
            at: self.begun.0 + since,
            took: Duration::from_micros(*took),
        })
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the transactions that ended between two moments felt.
pub(super) fn felt(all: &[Done], (from, to): (Instant, Instant)) -> Felt {
    let within = all.iter().filter(|done| done.at >= from && done.at < to);
    let mut took: Vec<Duration> = within.map(|done| done.took).collect();
    took.sort_unstable();
    let at = |percent: usize| {
        let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(index).copied().unwrap_or_default()
    };
    let count = u64::try_from(took.len()).unwrap_or(u64::MAX);
    Felt {
        count,
        per_second: super::per_second(count, (to - from).as_secs_f64()),
        p50: at(50),
        p99: at(99),
        longest: at(100),
    }
}
