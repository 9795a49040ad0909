//! A plan written by hand, and runners of it: `name` becomes `nick`, in capitals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use migration::plan::{
    Assignment, Backfill, Cost, Key, LockLevel, Plan, Run, Step, TableLock, VersionSchema,
};
use migration::schema::Qualified;
use postgres::{Change, DatabaseError, Event, Kind, Observer, Runner, Settings, Wish};
use tokio::sync::watch;

use crate::stand::Database;

pub(crate) fn table(name: &str) -> Qualified {
    Qualified {
        schema: "public".to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn step(run: Run, title: &str, statements: &[&str]) -> Step {
    Step {
        title: title.to_owned(),
        statements: statements.iter().map(|&it| it.to_owned()).collect(),
        run,
        locks: vec![TableLock {
            table: table("users"),
            level: LockLevel::AccessExclusive,
        }],
        cost: Cost::Instant,
        why: String::new(),
    }
}

const TRIGGER: &str = "CREATE FUNCTION public.two_ways() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('gapless.backfill', true) = 'on' THEN RETURN NEW; END IF;
    IF current_schema() = 'v2' THEN
        IF TG_OP = 'INSERT' OR NEW.nick IS DISTINCT FROM OLD.nick THEN NEW.name := lower(NEW.nick); END IF;
    ELSIF TG_OP = 'INSERT' OR NEW.name IS DISTINCT FROM OLD.name THEN NEW.nick := upper(NEW.name);
    END IF;
    RETURN NEW;
END $$";

/// The plan, over `key`.
pub(crate) fn plan(key: Key) -> Plan {
    Plan {
        version: VersionSchema {
            name: "v2".to_owned(),
            previous: None,
            base: "public".to_owned(),
            tables: vec!["users".to_owned()],
        },
        expand: vec![
            step(Run::Together, "add the column", &[
                "ALTER TABLE public.users ADD COLUMN nick text",
                "ALTER TABLE public.users ADD CONSTRAINT nick_there CHECK (nick IS NOT NULL) NOT VALID",
                TRIGGER,
                "CREATE TRIGGER two_ways BEFORE INSERT OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.two_ways()",
                "ALTER TABLE public.users ENABLE ALWAYS TRIGGER two_ways",
            ]),
        ],
        backfill: vec![Backfill {
            table: table("users"),
            alias: "users".to_owned(),
            key,
            set: vec![Assignment { column: "nick".to_owned(), expression: "upper(users.name)".to_owned() }],
            search_path: vec!["public".to_owned()],
            triggers: vec![],
        }],
        publish: vec![
            step(Run::Alone {
                done: "SELECT coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.users_nick')), false)".to_owned(),
                clear: vec!["DROP INDEX CONCURRENTLY IF EXISTS public.users_nick".to_owned()],
            }, "index the column", &["CREATE INDEX CONCURRENTLY users_nick ON public.users (nick)"]),
            Step { locks: vec![], ..step(Run::Validate, "validate", &["ALTER TABLE public.users VALIDATE CONSTRAINT nick_there"]) },
            step(Run::Together, "publish", &[
                "CREATE SCHEMA v2",
                "CREATE VIEW v2.users AS SELECT id, nick FROM public.users",
            ]),
        ],
        contract: vec![
            step(Run::Together, "stop writing both", &["DROP TRIGGER two_ways ON public.users", "DROP FUNCTION public.two_ways()"]),
            step(Run::Together, "drop the old column", &["ALTER TABLE public.users DROP COLUMN name"]),
        ],
        abort: vec![
            step(Run::Together, "take the version back", &["DROP SCHEMA IF EXISTS v2 CASCADE"]),
            step(Run::Together, "take the column back", &[
                "DROP TRIGGER IF EXISTS two_ways ON public.users",
                "DROP FUNCTION IF EXISTS public.two_ways()",
                "ALTER TABLE public.users DROP COLUMN IF EXISTS nick",
            ]),
        ],
        notes: vec![],
        reread: false,
    }
}

pub(crate) fn by_id() -> Key {
    Key::Columns {
        columns: vec!["id".to_owned()],
        index: "users_pkey".to_owned(),
    }
}

pub(crate) fn change(plan: Plan) -> Change {
    Change {
        version: "02_nick".to_owned(),
        description: "nick".to_owned(),
        kind: Kind::Change,
        script: "02_nick.yaml".to_owned(),
        checksum: "abc".to_owned(),
        source: None,
        plan,
    }
}

/// What happened while a runner worked.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// An observer that remembers.
    pub(crate) fn observer(&self) -> Observer {
        let heard = self.0.clone();
        Arc::new(move |event| heard.lock().unwrap().push(event.clone()))
    }
}

/// Careful settings that are quick in a test.
pub(crate) fn settings() -> Settings {
    Settings {
        lock_timeout: Duration::from_millis(50),
        ..Settings::default()
    }
}

/// A runner on `database` that says what happens to `observer`, with its steering.
pub(crate) async fn runner_with(
    database: &Database,
    (settings, observer): (Settings, Observer),
) -> Result<(Runner, watch::Sender<Wish>), DatabaseError> {
    let (sender, receiver) = watch::channel(Wish::Go);
    let runner = Runner::open(&database.url(), settings, (observer, receiver)).await?;
    Ok((runner, sender))
}

pub(crate) async fn runner(database: &Database) -> Runner {
    let heard = Heard::default();
    runner_with(database, (settings(), heard.observer()))
        .await
        .unwrap()
        .0
}

/// A runner that wants to stop at its statement or batch `number`.
pub(crate) async fn runner_until(database: &Database, number: usize) -> Runner {
    let (sender, receiver) = watch::channel(Wish::Go);
    let count = AtomicUsize::new(0);
    let observer: Observer = Arc::new(move |event| {
        let counts = matches!(event, Event::Statement { .. } | Event::Backfill(_));
        if counts && count.fetch_add(1, Ordering::Relaxed) == number {
            sender.send_replace(Wish::Stop);
        }
    });
    Runner::open(&database.url(), settings(), (observer, receiver))
        .await
        .unwrap()
}
