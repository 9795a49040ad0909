//! Plans as plain statements: each goes forth, back, forth again and to its end.

use migration::plan::{Backfill, Plan, Run, Step};
use migration::schema::Schema;
use migration::{Migration, Open};
use postgres::Connection;

use crate::stand::Database;

/// A database with what is in progress on it.
pub(crate) struct Stage {
    connection: Connection,
    published: Option<String>,
    pub(crate) open: Vec<(u32, Migration)>,
}

impl Stage {
    pub(crate) async fn schema(&mut self) -> Schema {
        postgres::read::schema(self.connection.client(), "public")
            .await
            .unwrap()
    }

    /// Calls `plan` with what the database is now.
    async fn planned<T>(
        &mut self,
        plan: impl Fn(&migration::Database<'_>) -> Result<T, model::diagnostic::Report>,
    ) -> T {
        let schema = self.schema().await;
        let open = self.open.iter();
        let open: Vec<Open<'_>> = open
            .map(|(serial, migration)| Open {
                serial: *serial,
                migration,
            })
            .collect();
        let database = migration::Database {
            schema: &schema,
            published: self.published.as_deref(),
            open: &open,
        };
        plan(&database).unwrap_or_else(|report| {
            let last = &open.last().unwrap().migration;
            panic!("{}", report.render(&last.name, &last.text))
        })
    }

    async fn run(&mut self, steps: &[Step]) {
        for step in steps {
            let client = self.connection.client();
            let mut script = step.statements.join(";\n");
            match &step.run {
                Run::Together | Run::Validate => {
                    script = format!("BEGIN; SET LOCAL search_path = public;\n{script};\nCOMMIT");
                    let done = client.batch_execute(&script).await;
                    done.unwrap_or_else(|error| panic!("{}: {error:?}\n{script}", step.title));
                }
                Run::Alone { done, .. } => {
                    for statement in &step.statements {
                        let ran = client.batch_execute(statement).await;
                        ran.unwrap_or_else(|error| {
                            panic!("{}: {error:?}\n{statement}", step.title)
                        });
                    }
                    if done != "SELECT false" {
                        let row = client.query_one(done, &[]).await.unwrap();
                        assert!(row.get::<_, bool>(0), "{}", step.title);
                    }
                }
            }
        }
    }

    async fn fill(&mut self, it: &Backfill) {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let set = it
            .set
            .iter()
            .map(|set| format!("{} = {}", quote(&set.column), set.expression));
        let path: Vec<String> = it.search_path.iter().map(|name| quote(name)).collect();
        let script = format!(
            "BEGIN; SET LOCAL gapless.backfill = 'on'; SET LOCAL search_path = {};\nUPDATE {}.{} AS {} SET {};\nCOMMIT",
            path.join(", "),
            quote(&it.table.schema),
            quote(&it.table.name),
            quote(&it.alias),
            set.collect::<Vec<_>>().join(", "),
        );
        let done = self.connection.client().batch_execute(&script).await;
        done.unwrap_or_else(|error| panic!("{error:?}\n{script}"));
    }

    /// Expands, fills in and publishes the newest migration.
    async fn start(&mut self) -> Plan {
        let mut plan = self.planned(migration::plan).await;
        self.run(&plan.expand).await;
        if plan.reread {
            plan = self.planned(migration::plan).await;
        }
        for backfill in &plan.backfill {
            self.fill(backfill).await;
        }
        self.run(&plan.publish).await;
        plan
    }

    pub(crate) async fn abort(&mut self) {
        let steps = self.planned(migration::abort).await;
        self.run(&steps).await;
    }

    /// Contracts the oldest migration.
    pub(crate) async fn contract(&mut self) {
        let steps = self.planned(migration::contract).await;
        self.run(&steps).await;
        let (_, oldest) = self.open.remove(0);
        self.published = Some(oldest.version("public"));
    }
}

/// An empty database, or `None` where there is no server.
pub(crate) async fn stage() -> Option<Stage> {
    let database = Database::new()?;
    let connection = database.connect().await;
    Some(Stage {
        connection,
        published: None,
        open: Vec::new(),
    })
}

#[tokio::test]
async fn every_example_of_the_other_dialect_starts_goes_back_and_ends() {
    let Ok(folder) = std::env::var("GAPLESS_PGROLL_EXAMPLES") else {
        eprintln!("skipped: GAPLESS_PGROLL_EXAMPLES does not name the folder of examples");
        return;
    };
    let Some(mut stage) = stage().await else {
        return;
    };
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "yaml"));
    files.sort();
    for (path, serial) in files.iter().zip(1..) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let migration = migration::read(&name, &text).unwrap();
        let before = stage.schema().await.without_estimates();
        stage.open.push((serial, migration));
        eprintln!("{name}");
        // SQL that does not say how it is taken back is not.
        if !text.contains("sql:") || text.contains("down:") || text.contains("onComplete") {
            stage.start().await;
            stage.abort().await;
            let after = stage.schema().await.without_estimates();
            assert_same(&before, &after, &name);
        }
        stage.start().await;
        stage.contract().await;
        let end = stage.schema().await;
        let left = format!("{end:?}");
        let at = left.find("gapless");
        assert!(
            at.is_none(),
            "{name}: {}",
            &left[at.unwrap_or(0).saturating_sub(300)..][..400]
        );
    }
    assert!(files.len() > 50, "the folder has {} examples", files.len());
}

pub(crate) fn assert_same(before: &Schema, after: &Schema, name: &str) {
    for (table, facts) in &before.tables {
        assert_eq!(Some(facts), after.tables.get(table), "{name}: {table}");
    }
    assert_eq!(before, after, "{name}");
}

impl Stage {
    /// Adds a migration and starts it.
    pub(crate) async fn begin(&mut self, serial: u32, yaml: &str) {
        let name = format!("v{serial}.yaml");
        let migration = migration::read(&name, yaml)
            .unwrap_or_else(|report| panic!("{}", report.render(&name, yaml)));
        self.open.push((serial, migration));
        self.start().await;
    }

    /// Runs SQL as a program of that version does; `None` is the one before any migration.
    pub(crate) async fn tell(&mut self, version: Option<u32>, sql: &str) -> String {
        let path = version.map_or("public".to_owned(), |v| format!("public_v{v}, public"));
        let script = format!("SET search_path = {path}; {sql}");
        let told = self.connection.client().simple_query(&script).await;
        let told = told.unwrap_or_else(|error| panic!("v{version:?}: {error:?}\n{sql}"));
        let mut rows = Vec::new();
        for message in told {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let value = |at| row.get(at).unwrap_or("NULL").to_owned();
                rows.push((0..row.len()).map(value).collect::<Vec<_>>().join("|"));
            }
        }
        rows.join(" ")
    }
}

const ITEMS: &str = "
    CREATE TABLE items (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL,
        price int DEFAULT 5 CHECK (price >= 0), extra text NOT NULL);
    CREATE INDEX items_name ON items (lower(name) DESC) INCLUDE (price) WHERE name <> '';
    CREATE TABLE lines (item int REFERENCES items ON DELETE CASCADE);
    INSERT INTO items (name, extra) VALUES ('a', 'x'), ('b', 'y');
    INSERT INTO lines VALUES (1)";

const FIRST: &str = "
operations:
  - alter_column: {table: items, column: price, type: text, up: \"price || ' EUR'\", down: \"split_part(price, ' ', 1)::int\"}
  - rename_column: {table: items, from: name, to: title}
  - add_column: {table: items, up: upper(title), column: {name: loud, type: text, nullable: true}}
  - rename_table: {from: items, to: goods}
";

const SECOND: &str = "
operations:
  - alter_column: {table: goods, column: price, type: numeric, up: \"split_part(price, ' ', 1)::numeric\", down: \"trunc(price) || ' USD'\"}
  - drop_column: {table: goods, column: extra, down: \"'gone'\"}
  - alter_column: {table: goods, column: id, type: bigint, up: id, down: id}
";

/// What each version sees of one row.
const OLD: &str = "SELECT id, name, price, extra FROM items WHERE id = 1";
const NEW: &str = "SELECT id, title, price, extra, loud FROM goods WHERE id = 1";
const NEWEST: &str = "SELECT id, title, price, loud FROM goods WHERE id = 1";

impl Stage {
    /// Three versions side by side.
    async fn three_versions() -> Option<Self> {
        let mut stage = stage().await?;
        stage.tell(None, ITEMS).await;
        stage.begin(1, FIRST).await;
        stage.begin(2, SECOND).await;
        Some(stage)
    }

    pub(crate) async fn sees(&mut self, version: Option<u32>, sql: &str, expected: &str) {
        assert_eq!(
            self.tell(version, sql).await,
            expected,
            "v{version:?}: {sql}"
        );
    }
}

#[tokio::test]
async fn three_versions_read_what_any_of_them_writes() {
    let Some(mut stage) = Stage::three_versions().await else {
        return;
    };
    stage.sees(None, OLD, "1|a|5|x").await;
    stage.sees(Some(1), NEW, "1|a|5 EUR|x|A").await;
    stage.sees(Some(2), NEWEST, "1|a|5|A").await;

    let sql = "UPDATE items SET price = 7 WHERE id = 1";
    stage.tell(None, sql).await;
    stage.sees(Some(1), NEW, "1|a|7 EUR|x|A").await;
    stage.sees(Some(2), NEWEST, "1|a|7|A").await;

    let sql = "UPDATE goods SET price = 8.5, loud = 'own' WHERE id = 1";
    stage.tell(Some(2), sql).await;
    stage.sees(Some(1), NEW, "1|a|8 USD|x|own").await;
    stage.sees(None, OLD, "1|a|8|x").await;
}

#[tokio::test]
async fn saving_a_row_again_overwrites_no_other_version() {
    let Some(mut stage) = Stage::three_versions().await else {
        return;
    };
    let sql = "UPDATE goods SET price = 8.5, loud = 'own' WHERE id = 1";
    stage.tell(Some(2), sql).await;
    let sql = "UPDATE items SET name = 'a', price = 8, extra = 'z' WHERE id = 1";
    stage.tell(None, sql).await;
    let sql = "UPDATE goods SET extra = 'zz', price = '8 USD' WHERE id = 1";
    stage.tell(Some(1), sql).await;
    stage.sees(Some(2), NEWEST, "1|a|8.5|own").await;
    stage.sees(Some(1), NEW, "1|a|8 USD|zz|own").await;
}

#[tokio::test]
async fn rows_of_every_version_are_numbered_by_one_sequence() {
    let Some(mut stage) = Stage::three_versions().await else {
        return;
    };
    let sql = "INSERT INTO items (name, extra) VALUES ('o', 'e')";
    stage.tell(None, sql).await;
    let sql = "INSERT INTO goods (title, price, extra) VALUES ('n', '3 GBP', 'e')";
    stage.tell(Some(1), sql).await;
    let sql = "INSERT INTO goods (title, price, loud) VALUES ('nn', 4.5, 'l')";
    stage.tell(Some(2), sql).await;
    let sql = "SELECT name, price, extra FROM items WHERE id > 2 ORDER BY name";
    stage.sees(None, sql, "n|3|e nn|4|gone o|5|e").await;
    let sql = "SELECT title, price, loud FROM goods WHERE id > 2 ORDER BY title";
    stage.sees(Some(2), sql, "n|3|NULL nn|4.5|l o|5|O").await;
    let sql = "SELECT count(DISTINCT id), count(*) FROM goods";
    stage.sees(Some(2), sql, "5|5").await;
}

#[tokio::test]
async fn changes_are_taken_back_newest_first_and_leave_nothing() {
    let Some(mut stage) = stage().await else {
        return;
    };
    stage.tell(None, ITEMS).await;
    let before = stage.schema().await.without_estimates();
    stage.begin(1, FIRST).await;
    stage.begin(2, SECOND).await;
    stage.abort().await;
    stage.open.pop();
    let sql = "UPDATE items SET price = 9 WHERE id = 1";
    stage.tell(None, sql).await;
    stage.sees(Some(1), NEW, "1|a|9 EUR|x|A").await;
    stage.abort().await;
    stage.open.pop();
    let after = stage.schema().await.without_estimates();
    assert_same(&before, &after, "both taken back");
}

#[tokio::test]
async fn a_version_stays_right_while_the_one_before_it_ends() {
    let Some(mut stage) = Stage::three_versions().await else {
        return;
    };
    let sql = "INSERT INTO items (name, price, extra) VALUES ('c', 6, 'w')";
    stage.tell(None, sql).await;
    stage.contract().await;
    let sql = "UPDATE goods SET price = '1 EUR' WHERE id = 1";
    stage.tell(Some(1), sql).await;
    let sql = "UPDATE goods SET price = 2 WHERE id = 2";
    stage.tell(Some(2), sql).await;
    let sql = "INSERT INTO goods (title, price) VALUES ('d', 3)";
    stage.tell(Some(2), sql).await;
    let sql = "SELECT title, price FROM goods ORDER BY title";
    stage
        .sees(Some(1), sql, "a|1 EUR b|2 USD c|6 EUR d|3 USD")
        .await;
    stage.sees(Some(2), sql, "a|1 b|2 c|6 d|3").await;
    stage.contract().await;
    let sql = "INSERT INTO goods (title, price) VALUES ('e', 3.5)";
    stage.tell(Some(2), sql).await;
    let sql = "SELECT title, price FROM goods ORDER BY title";
    stage.sees(Some(2), sql, "a|1 b|2 c|6 d|3 e|3.5").await;
}

#[tokio::test]
async fn what_hangs_on_a_column_outlives_its_change() {
    let Some(mut stage) = Stage::three_versions().await else {
        return;
    };
    stage.contract().await;
    stage.contract().await;
    let schema = stage.schema().await;
    assert_eq!(schema.tables.keys().collect::<Vec<_>>(), ["goods", "lines"]);
    let goods = &schema.tables["goods"];
    let columns = goods.columns.iter();
    let mut columns: Vec<_> = columns
        .map(|c| format!("{} {}", c.name, c.data_type))
        .collect();
    columns.sort_unstable();
    assert_eq!(
        columns,
        ["id bigint", "loud text", "price numeric", "title text"]
    );
    let identity = goods.column("id").unwrap().identity;
    assert_eq!(identity, Some(migration::schema::Identity::ByDefault));
    assert!(goods.primary_key().is_some());
    assert_eq!(goods.referenced_by.len(), 1, "the key of `lines` survives");
    let index = &goods.indexes["items_name"].definition;
    assert!(index.contains("lower(title) DESC"), "{index}");
    assert!(!format!("{schema:?}").contains("gapless"));
}
