//! The server that the tests of this program share.

use std::sync::OnceLock;

use postgres::{Connection, Url};
use stage::Cluster;

/// The server, or `None` where none is installed; the reason is printed.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let started = CLUSTER.get_or_init(|| match Cluster::installed() {
        Ok(_) => Some(Cluster::start("", &[]).unwrap()),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    });
    started.as_ref()
}

/// A database of its own for one test, and its owner, who may nothing more.
pub(crate) struct Database {
    pub(crate) cluster: &'static Cluster,
    pub(crate) name: String,
}

impl Database {
    /// An empty one, or `None` where there is no server.
    pub(crate) fn new() -> Option<Self> {
        let cluster = cluster()?;
        let name = cluster.database().unwrap();
        Some(Self { cluster, name })
    }

    /// Its URL for its owner.
    pub(crate) fn url(&self) -> Url {
        Url::parse(&self.cluster.url(&self.name, &self.name)).unwrap()
    }

    /// Runs statements as the owner.
    pub(crate) async fn run(&self, sql: &str) {
        self.connect()
            .await
            .client()
            .batch_execute(sql)
            .await
            .unwrap();
    }

    /// A session of the owner.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(&self.url(), "test").await.unwrap()
    }

    /// Runs statements as the superuser and returns the rows, `|` between values.
    pub(crate) fn superuser(&self, sql: &str) -> String {
        self.cluster.sql(&self.name, sql).unwrap()
    }
}
