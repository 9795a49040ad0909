//! Releases and the schema of their database, moved together.

use serde_json::Value;
use stage::{Cluster, Said};

use crate::project::Project;
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
