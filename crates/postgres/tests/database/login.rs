//! Roles of versions' own: they see their version, with the rights of the programs' role.

use postgres::{DatabaseError, Login, Observer, Runner, Url, Wish, look};
use stage::Cluster;
use tokio::sync::watch;

use crate::script::{by_id, change, plan, settings};
use crate::stand::cluster;

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 25) n";

/// A server that asks for passwords, and a database with an owner who has one.
struct Guarded {
    cluster: Cluster,
    name: String,
}

impl Guarded {
    fn new() -> Option<Self> {
        // Where none is installed the reason is printed.
        cluster()?;
        let cluster = Cluster::start("", &[]).unwrap();
        let name = cluster.database().unwrap();
        let path = cluster.sql("postgres", "SHOW hba_file").unwrap();
        let rules = format!(
            "COPY (VALUES ('local all postgres trust'), ('local all all scram-sha-256')) TO '{path}'"
        );
        let guarded = Self { cluster, name };
        let owner = &guarded.name;
        guarded.sql(&format!(
            "ALTER ROLE {owner} PASSWORD 's3cret'; ALTER ROLE {owner} SET statement_timeout = '7s';
             ALTER ROLE {owner} SET search_path = public, \"$user\""
        ));
        guarded.sql(&rules);
        guarded.sql("SELECT pg_reload_conf()");
        Some(guarded)
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.name, sql).unwrap()
    }

    fn url(&self, role: &str, password: &str) -> Url {
        let login = format!("{role}:{password}");
        Url::parse(&self.cluster.url(&self.name, &login)).unwrap()
    }

    async fn runner(&self) -> Runner {
        let quiet: Observer = std::sync::Arc::new(|_| {});
        let (_, wish) = watch::channel(Wish::Go);
        let url = self.url(&self.name, "s3cret");
        Runner::open(&url, settings(), (quiet, wish)).await.unwrap()
    }

    /// The role of a version, which sees `schema`.
    fn login<'a>(&'a self, role: &'a str, path: &'a str, version: &'a str) -> Login<'a> {
        Login {
            base: &self.name,
            role,
            password: "derived",
            search_path: path,
            version: ("public", version),
        }
    }

    fn roles(&self) -> String {
        self.sql("SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'its_%'")
    }
}

#[tokio::test]
async fn the_role_of_a_version_sees_it_with_the_rights_of_the_programs_role() {
    let Some(guarded) = Guarded::new() else {
        return;
    };
    let mut runner = guarded.runner().await;
    runner.client().batch_execute(USERS).await.unwrap();
    runner.expand(&change(plan(by_id()))).await.unwrap();
    let login = guarded.login("its_v2", "\"v2\", public", "02_nick");

    let refused = runner.login(&login).await.unwrap_err();
    assert!(
        matches!(refused, DatabaseError::Privileges { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("CREATEROLE"), "{refused}");
    assert_eq!(guarded.roles(), "");

    guarded.sql(&format!("ALTER ROLE {} CREATEROLE", guarded.name));
    runner.login(&login).await.unwrap();
    runner.login(&login).await.unwrap();
    let seen = look(&guarded.url("its_v2", "derived")).await.unwrap();
    assert_eq!(seen.schema.as_deref(), Some("v2"));
    assert!(look(&guarded.url("its_v2", "s3cret")).await.is_err());
    let base = look(&guarded.url(&guarded.name, "s3cret")).await.unwrap();
    assert_eq!(base.search_path, "public, \"$user\"");

    let url = guarded.url("its_v2", "derived");
    let mut program = postgres::Connection::open(&url, "test").await.unwrap();
    let sql = "INSERT INTO users (id, nick) VALUES (26, 'NEW');
        CREATE TABLE public.made (id int)";
    program.client().batch_execute(sql).await.unwrap();
    let row = "SELECT current_user::text, session_user::text,
        (SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout')";
    let row = program.client().query_one(row, &[]).await.unwrap();
    let seen: (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let wanted = (guarded.name.clone(), "its_v2".to_owned(), "7000".to_owned());
    assert_eq!(seen, wanted);
    assert_eq!(guarded.sql("SELECT name FROM users WHERE id = 26"), "new");
    let owner = guarded.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'made'");
    assert_eq!(owner, guarded.name);
}

#[tokio::test]
async fn roles_go_with_their_versions_and_nobody_elses_is_touched() {
    let Some(guarded) = Guarded::new() else {
        return;
    };
    guarded.sql(&format!(
        "ALTER ROLE {} CREATEROLE; CREATE ROLE its_own",
        guarded.name
    ));
    let mut runner = guarded.runner().await;
    runner.client().batch_execute(USERS).await.unwrap();
    runner.expand(&change(plan(by_id()))).await.unwrap();
    let stranger = guarded.login("its_own", "public", "02_nick");
    let refused = runner.login(&stranger).await.unwrap_err().to_string();
    assert!(refused.contains("no change made it"), "{refused}");

    for (role, version) in [("its_v1", "01_users"), ("its_v2", "02_nick")] {
        let login = guarded.login(role, "\"v2\", public", version);
        runner.login(&login).await.unwrap();
    }
    assert_eq!(guarded.roles(), "its_own,its_v1,its_v2");
    runner.abort("02_nick", "a test").await.unwrap();
    assert_eq!(guarded.roles(), "its_own,its_v1");
    runner.expand(&change(plan(by_id()))).await.unwrap();
    let again = guarded.login("its_v2", "\"v2\", public", "02_nick");
    runner.login(&again).await.unwrap();
    runner.contract("02_nick").await.unwrap();
    assert_eq!(guarded.roles(), "its_own,its_v2");
}
