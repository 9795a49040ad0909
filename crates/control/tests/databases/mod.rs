//! When databases are contracted, and what is refused from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use control::api::{Code, Deployed, StatusAnswer, UnconvertedRows};
use control::{Again, ContractFailed, DatabaseFailed, Removed, SecretValue, Standing};
use model::{
    Argv, Command, Database, DatabaseName, DatabasePolicy, Outcome, Project, ReleaseId, SearchPath,
    Service,
};

use crate::support::{Worker, World, program, service};
use crate::web;

const TABLE: &str = "operations:\n  - create_table: {name: t, columns: [{name: a, type: text}]}\n";
const RENAME: &str = "operations:\n  - rename_column: {table: t, from: a, to: b}\n";

fn main_database() -> DatabaseName {
    DatabaseName::try_new("main").unwrap()
}

/// A project with a database that is contracted as soon as it may be.
fn project(world: &World, services: &[(&str, Service)]) -> Project {
    let mut project = world.project(services);
    let database = Database {
        url: "URL".to_owned(),
        migrations: "migrations".to_owned(),
        schema: "public".to_owned(),
        search_path: SearchPath::Url,
        policy: DatabasePolicy {
            contract_after: Duration::ZERO,
            approve: false,
            migrate_url: None,
            lock_timeout: Duration::from_millis(250),
            patience: Duration::from_secs(60),
        },
    };
    project.databases = BTreeMap::from([(main_database(), database)]);
    project
}

fn tied(env: &str) -> Service {
    let mut service = service(env);
    service.template.database = Some(main_database());
    service.template.secrets = vec!["URL".to_owned()];
    service
}

impl Worker {
    async fn set_url(&self) {
        let value = SecretValue::try_new(b"postgres://db".to_vec()).unwrap();
        let secret = ("URL".to_owned(), value);
        let set = self
            .handle
            .set_secret(secret, control::Retire::None, "test".to_owned());
        set.await.unwrap();
    }

    /// Deploys with the first so many of two migrations.
    async fn deploy_migrated(&self, project: &Project, migrations: usize) -> Deployed {
        let files = [("01_t.yaml", TABLE), ("02_b.yaml", RENAME)];
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in &files[..migrations] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let stored = self.request(project, directory.path()).await;
        let mut request = self.request(project, program().path()).await;
        let migrations = stored.artifacts.into_values().next().unwrap();
        request.migrations = BTreeMap::from([(main_database(), migrations)]);
        let deployed = self.handle.deploy(request, None, "test".to_owned());
        deployed.await.unwrap()
    }

    /// The same, and waits for the end of all rollouts.
    async fn migrate(&self, project: &Project, migrations: usize) -> Deployed {
        let deployed = self.deploy_migrated(project, migrations).await;
        for rollout in deployed.rollouts.values() {
            let receipt = self.receipt(*rollout).await;
            assert_eq!(receipt.outcome, Outcome::Completed, "{}", receipt.reason);
        }
        deployed
    }

    async fn contracted(&self, version: &str) {
        self.until(|status| {
            let database = &status.engine.databases[0];
            database.contract.is_none() && database.contracted.as_deref() == Some(version)
        })
        .await;
    }
}

fn needed(status: &StatusAnswer) -> Option<String> {
    let waiting = status.engine.databases.first()?.waiting.last()?;
    waiting.needed_before.clone()
}

#[tokio::test(flavor = "local")]
async fn a_contract_bars_the_way_back_to_what_it_removed() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    worker
        .migrate(&project(&world, &[("web", tied("one"))]), 1)
        .await;
    worker.contracted("01_t").await;
    worker
        .migrate(&project(&world, &[("web", tied("two"))]), 2)
        .await;
    worker.contracted("02_b").await;
    let asked = world.databases.asked.lock().unwrap().clone();
    let contracts = asked.iter().filter(|asked| asked.starts_with("contract"));
    let contracts: Vec<&String> = contracts.collect();
    assert_eq!(
        contracts,
        ["contract postgres://db 01_t", "contract postgres://db 02_b"]
    );
    let rollback = Command::Rollback {
        service: web(),
        release: Some(ReleaseId(1)),
    };
    let refused = worker.handle.command(rollback, "test".to_owned()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, Code::Refused);
    assert!(refused.to_string().contains("`02_b`"), "{refused}");
}

#[tokio::test(flavor = "local")]
async fn a_contract_that_removed_nothing_leaves_the_way_back_open() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    worker
        .migrate(&project(&world, &[("web", tied("one"))]), 1)
        .await;
    worker.contracted("01_t").await;
    *world.databases.refuses.lock().unwrap() = Some(ContractFailed {
        failed: DatabaseFailed {
            reason: "row 7 is in the way".to_owned(),
            again: Again::Never,
        },
        removed: Removed::Before(Some("01_t".to_owned())),
    });
    worker
        .migrate(&project(&world, &[("web", tied("two"))]), 2)
        .await;
    worker
        .until(|status| {
            let database = &status.engine.databases[0];
            let contract = database.contract.as_ref();
            let failed = contract.is_some_and(|contract| contract.failed.is_some());
            failed && database.contracted.as_deref() == Some("01_t")
        })
        .await;
    let rollback = Command::Rollback {
        service: web(),
        release: Some(ReleaseId(1)),
    };
    let accepted = worker.handle.command(rollback, "test".to_owned()).await;
    let receipt = worker.receipt(accepted.unwrap().rollouts[&web()]).await;
    assert_eq!(receipt.outcome, Outcome::Completed, "{}", receipt.reason);
}

#[tokio::test(flavor = "local")]
async fn nothing_is_contracted_while_a_dead_servers_processes_run() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    *world.leftovers.lock().unwrap() = 1;
    worker
        .migrate(&project(&world, &[("web", tied("one"))]), 1)
        .await;
    worker
        .until(|status| status.engine.databases[0].contract.is_some())
        .await;
    let contracts = || {
        let asked = world.databases.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.starts_with("contract"))
            .count()
    };
    assert_eq!(contracts(), 0);
    worker.kill().await;
    // The next one asks again at once.
    *world.leftovers.lock().unwrap() = 0;
    let worker = world.start();
    worker.contracted("01_t").await;
    assert_eq!(contracts(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_service_that_only_has_the_url_holds_up_the_contract() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    let mut plain = service("one");
    plain.template.secrets = vec!["URL".to_owned()];
    let services = [("web", tied("one")), ("worker", plain)];
    worker.migrate(&project(&world, &services), 1).await;
    worker
        .until(|status| needed(status).is_some_and(|why| why.contains("v1 of `worker`")))
        .await;
    let asked = world.databases.asked.lock().unwrap().clone();
    assert!(
        asked.iter().all(|asked| asked.starts_with("expand")),
        "{asked:?}"
    );

    let services = [("web", tied("one")), ("worker", tied("two"))];
    worker.migrate(&project(&world, &services), 1).await;
    worker.contracted("01_t").await;
}

#[tokio::test(flavor = "local")]
async fn another_tool_is_not_run_while_a_change_is_open() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    let standing = |open: &[&str]| {
        *world.databases.standing.lock().unwrap() = Some(Standing {
            open: open.iter().map(|&name| name.to_owned()).collect(),
            ..Standing::default()
        });
    };
    let mut service = tied("one");
    // A program of that name, as far as anyone looks.
    service.policy.rollout.before = Some(Argv(vec![
        "./web".to_owned(),
        "alembic".to_owned(),
        "upgrade".to_owned(),
    ]));
    standing(&["01_t"]);
    let deployed = worker
        .deploy_migrated(&project(&world, &[("web", service.clone())]), 1)
        .await;
    let receipt = worker.receipt(deployed.rollouts[&web()]).await;
    assert_ne!(receipt.outcome, Outcome::Completed);
    let why = "`alembic` was not run: `01_t` is open in database `main`";
    assert!(receipt.reason.contains(why), "{}", receipt.reason);
    assert!(world.driver.starts.lock().unwrap().is_empty());

    standing(&[]);
    *world.driver.job_code.lock().unwrap() = Some(0);
    worker
        .migrate(&project(&world, &[("web", service)]), 1)
        .await;
}

#[tokio::test(flavor = "local")]
async fn what_somebody_does_by_hand_is_seen_and_said() {
    let world = World::new();
    let worker = world.start();
    worker.set_url().await;
    let approved = |services: &[(&str, Service)]| {
        let mut project = project(&world, services);
        let database = project.databases.get_mut(&main_database()).unwrap();
        database.policy.approve = true;
        project
    };
    worker.migrate(&approved(&[("web", tied("one"))]), 1).await;
    worker.migrate(&approved(&[("web", tied("two"))]), 2).await;
    let back = Command::Rollback {
        service: web(),
        release: Some(ReleaseId(1)),
    };
    let accepted = worker.handle.command(back.clone(), "test".to_owned()).await;
    worker.receipt(accepted.unwrap().rollouts[&web()]).await;

    let stands = |contracted: Option<&str>, served: &[&str]| {
        *world.databases.standing.lock().unwrap() = Some(Standing {
            contracted: contracted.map(str::to_owned),
            served: served.iter().map(|&name| name.to_owned()).collect(),
            ..Standing::default()
        });
    };
    // Whoever takes control looks at once.
    stands(None, &["01_t"]);
    let rows = UnconvertedRows {
        migration: "01_t".to_owned(),
        table: "t".to_owned(),
        rows: 3,
        keys: vec!["id = 7".to_owned()],
        reason: "no number".to_owned(),
    };
    if let Some(standing) = &mut *world.databases.standing.lock().unwrap() {
        standing.unconverted.push(rows.clone());
    }
    worker.kill().await;
    let worker = world.start();
    worker
        .until(|status| {
            let gone = status.engine.databases[0].gone.contains("02_b");
            gone && status.unconverted.get(&main_database()) == Some(&vec![rows.clone()])
        })
        .await;
    let expands = || {
        let asked = world.databases.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.starts_with("expand"))
            .count()
    };
    let before = expands();
    let forth = Command::Rollback {
        service: web(),
        release: Some(ReleaseId(2)),
    };
    let accepted = worker.handle.command(forth, "test".to_owned()).await;
    let receipt = worker.receipt(accepted.unwrap().rollouts[&web()]).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(expands(), before + 1, "it is published again");

    stands(Some("02_b"), &["01_t", "02_b"]);
    worker.kill().await;
    let worker = world.start();
    worker
        .until(|status| {
            let database = &status.engine.databases[0];
            database.contracted.as_deref() == Some("02_b") && database.waiting.is_empty()
        })
        .await;
    let refused = worker.handle.command(back, "test".to_owned()).await;
    assert_eq!(refused.unwrap_err().code, Code::Refused);
}
