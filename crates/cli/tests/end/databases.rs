//! Releases and the schema of their database, moved together.

use serde_json::Value;
use stage::{Cluster, Pool, Said};

use crate::project::{PATIENCE, Project};
use crate::secrets::set;
use crate::tenant::RUN;

/// A project with a program that keeps notes in a database.
struct Notes {
    project: Project,
    cluster: Cluster,
    database: String,
}

const TABLE: &str = "operations:
  - create_table:
      name: notes
      columns:
        - {name: id, type: bigint, pk: true, generated: {identity: {}}}
        - {name: body, type: text, nullable: true}
        - {name: writer, type: text, nullable: true}
";

const RENAMED: &str = "operations:
  - rename_column: {table: notes, from: body, to: content}
  - alter_column:
      table: notes
      column: writer
      nullable: false
      up: coalesce(writer, 'nobody')
      down: writer
";

impl Notes {
    /// A server and a database; `None` where no PostgreSQL is installed, with the reason.
    fn new() -> Option<Self> {
        if let Err(reason) = Cluster::installed() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let cluster = Cluster::start("", &[]).unwrap();
        let database = cluster.database().unwrap();
        let mut project = Project::new();
        let folder = project.stage.path("tenant");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), folder.join("tenant")).unwrap();
        std::fs::create_dir(project.stage.path("migrations")).unwrap();
        project.stage.serve(&[]).unwrap();
        let notes = Self {
            project,
            cluster,
            database,
        };
        set(&notes.project, "DATABASE_URL", &notes.url());
        Some(notes)
    }

    fn url(&self) -> String {
        self.cluster.url(&self.database, &self.database)
    }

    fn migration(&self, name: &str, text: &str) {
        let folder = self.project.stage.path("migrations");
        std::fs::write(folder.join(name), text).unwrap();
    }

    /// Deploys the program as it is when the text of a note is in `column`.
    fn deploy(&self, column: &str, database: &str) -> Said {
        let text = format!(
            "version = 1\nproject = \"test\"\n\n[server]\nhttp = \"{}\"\n\n[service.web]\n\
             artifact = \"tenant\"\n{RUN}\nreplicas = 2\ndrain = \"5s\"\ndatabase = \"main\"\n\
             health = {{ http = \"/healthz\", every = \"200ms\", timeout = \"5s\" }}\n\
             env = {{ COLUMN = \"{column}\" }}\n\n[database.main]\nurl = \"secret:DATABASE_URL\"\n\
             migrations = \"migrations\"\n{database}\n",
            self.project.address,
        );
        self.project.stage.write(&text).unwrap();
        self.project.redeploy(&[])
    }

    fn deployed(&self, column: &str, database: &str) -> Value {
        let said = self.deploy(column, database);
        assert_eq!(
            said.code,
            0,
            "{}\n{}",
            said.errors,
            self.project.stage.server_log()
        );
        said.lines
            .iter()
            .rfind(|line| line["type"] == "receipt")
            .cloned()
            .unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }
}

#[test]
fn a_release_and_its_schema_move_under_load_and_both_versions_see_every_write() {
    let Some(notes) = Notes::new() else { return };
    notes.migration("01_notes.yaml", TABLE);
    let first = notes.deployed("body", "");
    assert_eq!(
        first["schema"]["migrations"],
        serde_json::json!(["01_notes"])
    );
    notes.sql("INSERT INTO notes (body) SELECT 'note ' || n FROM generate_series(1, 2500) n");
    let client = notes.project.load(100);
    notes.migration("02_content.yaml", RENAMED);
    let second = notes.deployed("content", "");
    let tally = client.stop_unharmed();
    assert_eq!(second["lost"], 0, "{second:#}");
    let schema = &second["schema"];
    assert_eq!(schema["migrations"], serde_json::json!(["02_content"]));
    assert_eq!(schema["version"], "02_content");
    assert!(schema["rows"].as_u64() >= Some(2500), "{schema:#}");
    assert!(!schema["statements"].as_array().unwrap().is_empty());
    assert!(schema["blocked"]["queries"].is_u64(), "{schema:#}");

    let rows = (tally.sent + 2500).to_string();
    let whole = |table: &str, column: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} IS NOT NULL");
        assert_eq!(notes.sql(&sql), rows, "{table}");
    };
    whole("public_01_notes.notes", "body");
    whole("public_02_content.notes", "content");
    let writers = "SELECT count(DISTINCT substring(writer FROM 'v[0-9]+')) FROM notes";
    assert_eq!(notes.sql(writers), "2");
}

#[test]
fn a_rollback_is_open_until_the_contract_and_refused_after_it() {
    const CONTRACT: &str = "contract = { after = \"0s\", approve = true }";
    let Some(notes) = Notes::new() else { return };
    notes.migration("01_notes.yaml", TABLE);
    notes.deployed("body", CONTRACT);
    notes.migration("02_content.yaml", RENAMED);
    let client = notes.project.load(50);
    notes.deployed("content", CONTRACT);
    let back = notes.project.run(&["rollback", "web"]);
    assert_eq!(back.code, 0, "{}", back.errors);
    let early = notes.approve();
    assert!(
        early.code == 0 && notes.database()["contracted"] != "02_content",
        "what the running release needs is not removed: {}",
        notes.database()
    );
    notes.deployed("content", CONTRACT);
    let waiting = notes.database();
    assert_eq!(waiting["waiting"][0]["approved"], false, "{waiting:#}");
    assert!(notes.columns().contains("body"), "{}", notes.columns());

    assert_eq!(notes.approve().code, 0);
    notes.until_contracted("02_content");
    assert_eq!(notes.columns(), "content,id,writer");
    let refused = notes.project.run(&["rollback", "web"]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    let why = "is gone since the contract of `02_content` began";
    assert!(refused.errors.contains(why), "{}", refused.errors);
    assert_eq!(notes.project.web()["active"], 2);
    client.stop_unharmed();
}

/// One schema has one server and one name: two would contract beneath each other.
#[test]
fn a_database_that_somebody_else_looks_after_is_refused_until_it_is_disowned() {
    let Some(notes) = Notes::new() else { return };
    notes.migration("01_notes.yaml", TABLE);
    notes.deployed("body", "");
    let owner = "SELECT database || ' ' || base FROM gapless.owner";
    assert_eq!(notes.sql(owner), "main public");
    notes.sql("UPDATE gapless.owner SET server = 'another', place = '/srv/other on host2'");
    notes.migration("02_content.yaml", RENAMED);
    let said = notes.deploy("content", "");
    assert_ne!(said.code, 0);
    let why = "looked after by another server (/srv/other on host2) as `main`";
    assert!(said.errors.contains(why), "{}", said.errors);
    assert!(
        said.errors.contains("gapless migrate disown"),
        "{}",
        said.errors
    );
    assert_eq!(notes.sql("SELECT count(*) FROM gapless.history"), "1");
    let mut disown = std::process::Command::new(env!("CARGO_BIN_EXE_gapless"));
    disown
        .args(["migrate", "disown"])
        .env("DATABASE_URL", notes.url());
    assert!(disown.status().unwrap().success());
    notes.deployed("content", "");
}

#[test]
fn a_migration_that_fails_leaves_the_old_release_serving_and_says_why() {
    let Some(notes) = Notes::new() else { return };
    notes.migration("01_notes.yaml", TABLE);
    notes.deployed("body", "");
    notes.sql("INSERT INTO notes (body) VALUES ('no number')");
    let client = notes.project.load(50);
    notes.migration(
        "02_number.yaml",
        "operations:\n  - alter_column: {table: notes, column: body, type: integer, \
         up: \"CASE body WHEN 'no number' THEN body::integer ELSE 0 END\", down: 'body::text'}\n",
    );
    let said = notes.deploy("body", "");
    assert_eq!(said.code, 3, "{}", said.errors);
    let receipt = said
        .lines
        .iter()
        .rfind(|line| line["type"] == "receipt")
        .unwrap();
    let reason = receipt["reason"].as_str().unwrap();
    for part in ["`02_number`", "taken back", "cannot be filled in"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(receipt["lost"], 0, "{receipt:#}");
    client.stop_unharmed();
    assert_eq!(notes.columns(), "body,id,writer");
    assert_eq!(notes.project.web()["active"], 1);
}

#[test]
fn a_worker_that_is_killed_while_rows_are_filled_in_is_carried_on_by_the_next() {
    let Some(notes) = Notes::new() else { return };
    notes.migration("01_notes.yaml", TABLE);
    notes.deployed("body", "");
    notes.sql("INSERT INTO notes (body) SELECT 'note ' || n FROM generate_series(1, 100000) n");
    notes.migration("02_content.yaml", RENAMED);
    let (said, client) = std::thread::scope(|scope| {
        let client = notes.project.load(20);
        let deploy = scope.spawn(|| notes.deploy("content", ""));
        // From now on no statement needs the whole table: the last row holds up the last batch.
        notes.until("SELECT count(*) > 0 FROM gapless.backfill");
        let held = notes.hold("SELECT FROM notes WHERE id = 100000 FOR UPDATE");
        notes.until("SELECT coalesce(sum(rows_done), 0) > 0 FROM gapless.backfill");
        notes.project.stage.kill_worker().unwrap();
        drop(held);
        (deploy.join().unwrap(), client)
    });
    assert_eq!(
        said.code,
        0,
        "{}\n{}",
        said.errors,
        notes.project.stage.server_log()
    );
    client.stop();
    let same = "SELECT count(*) FROM public_01_notes.notes a JOIN public_02_content.notes b
        USING (id) WHERE a.body = b.content AND b.writer IS NOT NULL";
    assert_eq!(notes.sql(same), notes.sql("SELECT count(*) FROM notes"));
}

#[test]
fn a_role_of_its_own_leads_each_version_to_its_schema() {
    const ROLE: &str = "search_path = \"role\"";
    let Some(notes) = Notes::new() else { return };
    let url = notes
        .cluster
        .url(&notes.database, &format!("{}:pw", notes.database));
    set(&notes.project, "DATABASE_URL", &url);
    notes.migration("01_notes.yaml", TABLE);
    let refused = notes.deploy("body", ROLE);
    let reason = receipt(&refused)["reason"].to_string();
    assert!(reason.contains("CREATEROLE"), "{reason}");
    notes.sql(&format!("ALTER ROLE {} CREATEROLE", notes.database));
    notes.deployed("body", ROLE);
    let client = notes.project.load(50);
    notes.migration("02_content.yaml", RENAMED);
    let second = notes.deployed("content", ROLE);
    let tally = client.stop_unharmed();
    assert_eq!(second["lost"], 0, "{second:#}");
    assert_eq!(
        notes.sql("SELECT count(*) FROM notes"),
        tally.sent.to_string()
    );
    notes.until(&format!(
        "SELECT string_agg(DISTINCT usename::text, ',') = '{}_public_02_content' FROM pg_stat_activity
         WHERE application_name = '' AND usename LIKE 'test%'",
        notes.database
    ));
}

#[test]
fn a_pool_that_does_not_lead_to_the_version_is_named_and_one_that_does_is_used() {
    const ALIAS: &str = "search_path = \"alias\"\nmigrate_url = \"secret:OWNER_URL\"";
    let Some(notes) = Notes::new() else { return };
    if let Err(reason) = Pool::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
    let name = &notes.database;
    let pool = Pool::start(&notes.cluster, name, "transaction").unwrap();
    set(&notes.project, "DATABASE_URL", &pool.url(name, name));
    set(&notes.project, "OWNER_URL", &notes.url());
    notes.migration("01_notes.yaml", TABLE);
    let refused = notes.deploy("body", ALIAS);
    let reason = receipt(&refused)["reason"].as_str().unwrap().to_owned();
    let line = format!("{name}_public_01_notes = dbname={name} connect_query=");
    assert!(reason.contains(&line), "{reason}");
    let lead = |version: &str| {
        let query = format!("SET search_path = \"public_{version}\", \"$user\", public");
        pool.lead(&format!("{name}_public_{version}"), (name, &query))
            .unwrap();
    };
    lead("01_notes");
    notes.deployed("body", ALIAS);
    lead("02_content");
    let client = notes.project.load(50);
    notes.migration("02_content.yaml", RENAMED);
    let second = notes.deployed("content", ALIAS);
    let tally = client.stop_unharmed();
    assert_eq!(second["lost"], 0, "{second:#}");
    assert_eq!(
        notes.sql("SELECT count(*) FROM notes"),
        tally.sent.to_string()
    );
}

fn receipt(said: &Said) -> &Value {
    let mut lines = said.lines.iter();
    lines.rfind(|line| line["type"] == "receipt").unwrap()
}

/// A transaction that another session keeps open; it ends when this is dropped.
struct Held(std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Notes {
    fn hold(&self, sql: &str) -> Held {
        use std::io::{BufRead as _, BufReader, Write as _};
        use std::process::{Command, Stdio};
        let mut psql = Command::new(self.cluster.program("psql"))
            .args(["-X", "-q", "-A", "-t"])
            .arg(self.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = psql.stdin.as_mut().unwrap();
        writeln!(stdin, "BEGIN;\n{sql};\n\\echo held").unwrap();
        let mut lines = BufReader::new(psql.stdout.as_mut().unwrap()).lines();
        while lines.next().unwrap().unwrap() != "held" {}
        Held(psql)
    }

    /// Waits until a query says true.
    fn until(&self, sql: &str) {
        let begin = std::time::Instant::now();
        while self
            .cluster
            .sql(&self.database, sql)
            .is_ok_and(|said| said != "t")
        {
            assert!(begin.elapsed() < PATIENCE * 2, "never: {sql}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn approve(&self) -> Said {
        self.project
            .run(&["migrate", "contract", "--database", "main"])
    }

    /// The database as `status` shows it.
    fn database(&self) -> Value {
        self.project.run(&["status"]).first()["engine"]["databases"][0].clone()
    }

    fn until_contracted(&self, version: &str) {
        let begin = std::time::Instant::now();
        loop {
            let seen = self.database();
            if seen["contracted"] == version && seen["contract"].is_null() {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE * 2,
                "{seen:#}\n{}",
                self.project.stage.server_log()
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The columns of the table, in the order of their names.
    fn columns(&self) -> String {
        self.sql(
            "SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
             WHERE attrelid = 'public.notes'::regclass AND attnum > 0 AND NOT attisdropped",
        )
    }
}
