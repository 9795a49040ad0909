//! A temporary PostgreSQL of its own, for tests and benchmarks.
//!
//! A small shell keeps the server: it ends it when the pipe to this process closes, so however
//! this process ends, by a panic or a kill, nothing stays behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::server::StageError;

/// How long a server may take to be made, to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the folder of another server's programs.
const NAMED: &str = "GAPLESS_POSTGRES";

/// Where Debian puts the servers of each version.
const SERVERS: &str = "/usr/lib/postgresql";

/// Keeps the server for as long as its standard input is open, then removes the folder.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" >"$2/log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
kill -INT $pid
wait $pid
rm -rf "$2"
"#;

/// What every server is started with: no durability, it lives for one test run.
const SETTINGS: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 64MB
max_connections = 60
jit = off
timezone = 'UTC'
";

/// A PostgreSQL server that lives as long as this value, reached through a socket in its folder
/// and, for TLS, on a port of its own.
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    keeper: Mutex<(Child, Option<ChildStdin>)>,
    databases: AtomicU32,
}

impl Cluster {
    /// The folder of the programs of the PostgreSQL that `GAPLESS_POSTGRES` names, else of the
    /// newest that is installed here; or why there is none.
    ///
    /// # Errors
    ///
    /// When none is installed; with what to do.
    ///
    /// # Panics
    ///
    /// When the folder that was named holds none: tests would pass it over unseen.
    pub fn installed() -> Result<PathBuf, StageError> {
        let whole = |it: &PathBuf| it.join("postgres").exists() && it.join("initdb").exists();
        if let Some(named) = std::env::var_os(NAMED).map(PathBuf::from) {
            assert!(
                whole(&named),
                "{NAMED}: {} has no PostgreSQL",
                named.display()
            );
            return Ok(named);
        }
        let versions = fs::read_dir(SERVERS).into_iter().flatten().flatten();
        let programs = versions.map(|entry| entry.path().join("bin"));
        programs.filter(whole).max().ok_or_else(|| {
            StageError::new(
                "no PostgreSQL is installed",
                "`cargo xtask test` installs Debian's postgresql-15 when run as root",
            )
        })
    }

    /// Makes a server in a new folder and waits until it answers. `settings` are lines of
    /// `postgresql.conf`; files that they name are to be put with `files`, as (name, content).
    ///
    /// # Errors
    ///
    /// When PostgreSQL is not installed, or does not answer; with what it wrote.
    pub fn start(settings: &str, files: &[(&str, &str)]) -> Result<Self, StageError> {
        let programs = Self::installed()?;
        let (folder, port, user) = place()?;
        initialise(&programs, folder.path(), &user)?;
        let data = folder.path().join("data");
        for (name, content) in files {
            write_private(&data.join(name), content, &user)?;
        }
        let all = format!("{SETTINGS}listen_addresses = '127.0.0.1'\nport = {port}\n{settings}\n");
        write_private(&data.join("gapless.conf"), &all, &user)?;
        Self::keep(programs, (folder, port), &user)
    }

    /// Makes a replica of this server as it is, which follows it, and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub fn replica(&self) -> Result<Self, StageError> {
        let (folder, port, user) = place()?;
        let data = folder.path().join("data");
        let mut copy = user.command(self.program("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        copy.arg("--dbname").arg(self.url("postgres", "postgres"));
        copy.arg("--pgdata").arg(&data).current_dir("/");
        let output = copy.output();
        let output = output.map_err(|error| StageError::new("no copy can be made", error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(StageError::new("pg_basebackup failed", said));
        }
        let all = format!("{SETTINGS}listen_addresses = '127.0.0.1'\nport = {port}\n");
        write_private(&data.join("gapless.conf"), &all, &user)?;
        Self::keep(self.programs.clone(), (folder, port), &user)
    }

    /// Runs the server of a folder for as long as the value lives.
    fn keep(
        programs: PathBuf,
        (folder, port): (tempfile::TempDir, u16),
        user: &Unprivileged,
    ) -> Result<Self, StageError> {
        let folder = folder.keep();
        let mut keeper = user.command("sh");
        let keeper = keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(&programs)
            .arg(&folder);
        // Its own group: an interrupt from the terminal reaches it through the pipe.
        let keeper = keeper
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn();
        let mut keeper =
            keeper.map_err(|error| StageError::new("the server cannot be started", error))?;
        let stdin = keeper.stdin.take();
        let keeper = Mutex::new((keeper, stdin));
        let databases = AtomicU32::new(0);
        let cluster = Self {
            folder,
            programs,
            port,
            keeper,
            databases,
        };
        cluster.answer()?;
        Ok(cluster)
    }

    /// Where the server's programs are: `psql`, `pg_dump`, `pgbench`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Who the server's process is, as (user, group), where that is somebody else than this
    /// process, which is root then.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        Unprivileged::find().ids
    }

    /// The server's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `database` for `user`, through the socket.
    #[must_use]
    pub fn url(&self, database: &str, user: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgresql://{user}@{folder}:{}/{database}", self.port)
    }

    /// Makes an empty database whose name nobody else has, owned by a role of the same name
    /// that may nothing more. Returns the name.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub fn database(&self) -> Result<String, StageError> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        self.sql("postgres", &format!("CREATE ROLE {name} LOGIN"))?;
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {name}"))?;
        self.sql(&name, &format!("ALTER SCHEMA public OWNER TO {name}"))?;
        Ok(name)
    }

    /// Runs `sql` as the superuser and returns what it prints: a row a line, `|` between.
    ///
    /// # Errors
    ///
    /// When a statement fails; with what the server said.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, StageError> {
        let mut psql = Command::new(self.program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        psql.arg(self.url(database, "postgres"));
        let output = psql.output();
        let output = output.map_err(|error| StageError::new("psql cannot be run", error))?;
        if !output.status.success() {
            return Err(StageError::new(
                format!("`{}` failed", sql.chars().take(200).collect::<String>()),
                String::from_utf8_lossy(&output.stderr),
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn answer(&self) -> Result<(), StageError> {
        let socket = self.folder.join(format!(".s.PGSQL.{}", self.port));
        let until = Instant::now() + PATIENCE;
        loop {
            if UnixStream::connect(&socket).is_ok() && self.sql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StageError::new("PostgreSQL does not answer", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut keeper = match self.keeper.lock() {
            Ok(keeper) => keeper,
            Err(poisoned) => poisoned.into_inner(),
        };
        drop(keeper.1.take());
        let until = Instant::now() + PATIENCE;
        while let Ok(None) = keeper.0.try_wait() {
            if Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A folder and a port for a server, and who runs it.
fn place() -> Result<(tempfile::TempDir, u16, Unprivileged), StageError> {
    let folder = tempfile::Builder::new().prefix("gapless-pg-").tempdir();
    let folder =
        folder.map_err(|error| StageError::new("no temporary folder can be made", error))?;
    let address = crate::free_address();
    let address = address.map_err(|error| StageError::new("no port is free", error))?;
    let user = Unprivileged::find();
    user.own(folder.path())?;
    Ok((folder, address.port(), user))
}

fn initialise(programs: &Path, folder: &Path, user: &Unprivileged) -> Result<(), StageError> {
    let mut initdb = user.command(programs.join("initdb"));
    initdb.args([
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]);
    initdb
        .args(["--no-sync", "--no-instructions", "-D"])
        .arg(folder.join("data"));
    let output = initdb.current_dir("/").output();
    let output = output.map_err(|error| StageError::new("initdb cannot be run", error))?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(folder);
        return Err(StageError::new(
            "initdb failed",
            String::from_utf8_lossy(&output.stderr),
        ));
    }
    let configuration = folder.join("data/postgresql.conf");
    let mut text = fs::read_to_string(&configuration)
        .map_err(|error| StageError::new("the server's settings cannot be read", error))?;
    text.push_str("\ninclude 'gapless.conf'\n");
    fs::write(&configuration, text)
        .map_err(|error| StageError::new("the server's settings cannot be written", error))
}

/// A key must be its owner's alone, or the server refuses it.
fn write_private(path: &Path, content: &str, user: &Unprivileged) -> Result<(), StageError> {
    let written = fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)));
    written.map_err(|error| StageError::new("a file of the server cannot be written", error))?;
    user.own(path)
}

/// PostgreSQL refuses to run as root.
struct Unprivileged {
    ids: Option<(u32, u32)>,
}

impl Unprivileged {
    /// `postgres` where it exists, else `nobody`; without root, who we are.
    fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { ids: None };
        }
        const NOBODY: u32 = 65_534;
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        Self {
            ids: Some(ids.unwrap_or((NOBODY, NOBODY))),
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<(), StageError> {
        let Some((user, group)) = self.ids else {
            return Ok(());
        };
        chown(path, Some(user), Some(group))
            .map_err(|error| StageError::new("a file cannot be given to the server's user", error))
    }
}
