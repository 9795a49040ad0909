//! Through a pool: refused where it lends sessions by the transaction, else as without.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use postgres::{DatabaseError, Observer, Runner, Url, Wish};
use tokio::sync::watch;

use crate::script::{by_id, change, plan, settings};
use crate::stand::Database;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A `PgBouncer` before one database.
struct Pool {
    child: Child,
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl Pool {
    /// `None` where none is installed; the reason is printed.
    fn start(database: &Database, mode: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: {PROGRAM} is not installed; `cargo xtask test` does that as root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let address = stage::free_address().unwrap();
        let name = &database.name;
        let users = folder.path().join("users");
        let mut file = std::fs::File::create(&users).unwrap();
        writeln!(file, "\"{name}\" \"\"").unwrap();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host=127.0.0.1 port={} dbname={name}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
             ignore_startup_parameters = extra_float_digits\n",
            database.cluster.port(),
            address.port(),
            users.display()
        );
        std::fs::write(&settings, text).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut command = Command::new(PROGRAM);
        if database.cluster.owner().is_some() {
            command.args(["-u", "nobody"]);
        }
        let child = command.arg("-q").arg(&settings).stdin(Stdio::null());
        let child = child.stderr(Stdio::null()).spawn().unwrap();
        let mut pool = Self {
            child,
            address,
            _folder: folder,
        };
        pool.answer();
        Some(pool)
    }

    fn answer(&mut self) {
        while TcpStream::connect(self.address).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "the pool ended");
            std::thread::yield_now();
        }
    }

    async fn runner(&self, database: &Database) -> Result<Runner, DatabaseError> {
        let name = &database.name;
        let url = format!(
            "postgresql://{name}@{}/{name}?sslmode=disable",
            self.address
        );
        let quiet: Observer = std::sync::Arc::new(|_| {});
        let (_, wish) = watch::channel(Wish::Go);
        Runner::open(&Url::parse(&url).unwrap(), settings(), (quiet, wish)).await
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 2500) n";

#[tokio::test]
async fn a_pool_that_lends_sessions_by_the_transaction_is_refused() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    let Some(pool) = Pool::start(&database, "transaction") else {
        return;
    };
    let refused = pool.runner(&database).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, DatabaseError::Pooled { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("pool_mode = session"), "{said}");
    let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'gapless'";
    assert_eq!(database.superuser(left), "0\n0");
}

#[tokio::test]
async fn a_pool_that_lends_sessions_as_long_as_they_last_is_as_good_as_none() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    let Some(pool) = Pool::start(&database, "session") else {
        return;
    };
    let mut runner = pool.runner(&database).await.unwrap();
    runner.expand(&change(plan(by_id()))).await.unwrap();
    runner.contract("02_nick").await.unwrap();
    let filled = "SELECT count(*) FROM users WHERE nick LIKE 'U%'";
    assert_eq!(database.superuser(filled), "2500");
}
