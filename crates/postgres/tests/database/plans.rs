//! Plans as plain statements: each goes forth, back, forth again and to its end.

use migration::plan::{Backfill, Plan, Run, Step};
use migration::schema::Schema;
use migration::{Migration, Open};
use postgres::Connection;

use crate::stand::Database;

/// A database with what is in progress on it.
struct Stage {
    connection: Connection,
    published: Option<String>,
    open: Vec<(u32, Migration)>,
}

impl Stage {
    async fn schema(&mut self) -> Schema {
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

    async fn abort(&mut self) {
        let steps = self.planned(migration::abort).await;
        self.run(&steps).await;
    }

    /// Contracts the oldest migration.
    async fn contract(&mut self) {
        let steps = self.planned(migration::contract).await;
        self.run(&steps).await;
        let (_, oldest) = self.open.remove(0);
        self.published = Some(oldest.version("public"));
    }
}

async fn stage() -> Option<Stage> {
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

fn assert_same(before: &Schema, after: &Schema, name: &str) {
    for (table, facts) in &before.tables {
        assert_eq!(Some(facts), after.tables.get(table), "{name}: {table}");
    }
    assert_eq!(before, after, "{name}");
}
