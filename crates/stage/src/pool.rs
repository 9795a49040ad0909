//! A `PgBouncer` of its own before a PostgreSQL, for tests.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::server::StageError;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pool that lives as long as this value. Whoever connects is trusted.
pub struct Pool {
    child: Child,
    address: SocketAddr,
    port: u16,
    settings: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pool {
    /// Whether a pool is installed here, or why not.
    ///
    /// # Errors
    ///
    /// When none is; with what to do.
    pub fn installed() -> Result<(), StageError> {
        match Path::new(PROGRAM).exists() {
            true => Ok(()),
            false => Err(StageError::new(
                format!("{PROGRAM} is not installed"),
                "`cargo xtask test` installs it when run as root",
            )),
        }
    }

    /// Starts one before a server for `user` and the database of the same name, in a `pool_mode`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(cluster: &Cluster, user: &str, mode: &str) -> Result<Self, StageError> {
        let failed = |error: std::io::Error| StageError::new("the pool cannot be started", error);
        let folder = tempfile::tempdir().map_err(failed)?;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).map_err(failed)?;
        let address = crate::free_address().map_err(failed)?;
        let users = folder.path().join("users");
        fs::write(&users, format!("\"{user}\" \"\"\n")).map_err(failed)?;
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = trust\n\
             auth_file = {}\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n[databases]\n\
             {user} = host=127.0.0.1 port={} dbname={user}\n",
            address.port(),
            users.display(),
            cluster.port(),
        );
        fs::write(&settings, text).map_err(failed)?;
        let mut command = Command::new(PROGRAM);
        if cluster.owner().is_some() {
            command.args(["-u", "nobody"]);
        }
        let child = command.arg("-q").arg(&settings).stdin(Stdio::null());
        let child = child.stderr(Stdio::null()).spawn().map_err(failed)?;
        let mut pool = Self {
            child,
            address,
            port: cluster.port(),
            settings,
            _folder: folder,
        };
        pool.answer()?;
        Ok(pool)
    }

    /// Leads another database to one of the server's, with a query at the begin of each session.
    ///
    /// # Errors
    ///
    /// When the pool is gone.
    pub fn lead(&self, alias: &str, (database, query): (&str, &str)) -> Result<(), StageError> {
        let failed = |error: std::io::Error| StageError::new("the pool cannot be changed", error);
        let mut text = fs::read_to_string(&self.settings).map_err(failed)?;
        let query = query.replace('\'', "''");
        writeln!(
            text,
            "{alias} = host=127.0.0.1 port={} dbname={database} connect_query='{query}'",
            self.port
        )
        .map_err(|error| StageError::new("the pool cannot be changed", error))?;
        fs::write(&self.settings, text).map_err(failed)?;
        let told = kill_process(Pid::from_child(&self.child), Signal::HUP);
        told.map_err(|error| failed(error.into()))
    }

    /// The URL of one of its databases for `user`.
    #[must_use]
    pub fn url(&self, database: &str, user: &str) -> String {
        format!(
            "postgresql://{user}@{}/{database}?sslmode=disable",
            self.address
        )
    }

    fn answer(&mut self) -> Result<(), StageError> {
        while TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(StageError::new("the pool ended", status));
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
