//! A database's schema, changed by the command line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use stage::Cluster;

struct Shop {
    cluster: Cluster,
    database: String,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Option<Self> {
        if let Err(reason) = Cluster::installed() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let cluster = Cluster::start("", &[]).unwrap();
        let database = cluster.database().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("migrations")).unwrap();
        Some(Self {
            cluster,
            database,
            folder,
        })
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("migrations").join(name), text).unwrap();
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
        command
            .arg("migrate")
            .args(args)
            .current_dir(self.folder.path());
        command.env(
            "DATABASE_URL",
            self.cluster.url(&self.database, &self.database),
        );
        command
    }

    /// Exit code, standard output, standard error.
    fn migrate(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.migrate(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }
}

const USERS: &str = "operations:
  - create_table:
      name: users
      columns:
        - {name: id, type: bigint, pk: true}
        - {name: name, type: text, nullable: true}
";

const NAMED: &str = "operations:
  - alter_column:
      table: users
      column: name
      nullable: false
      up: coalesce(name, 'nobody')
      down: name
";

#[test]
fn a_schema_goes_forth_back_and_to_its_end() {
    let Some(shop) = Shop::new() else { return };
    shop.write("01_users.yaml", USERS);
    shop.write("02_named.yaml", NAMED);
    assert!(
        shop.done(&["status"])
            .contains("02_named                 pending")
    );
    assert!(
        shop.done(&["expand", "01_users"])
            .contains("`01_users` is published")
    );
    shop.done(&["contract"]);
    shop.sql("INSERT INTO users SELECT n, CASE WHEN n % 2 = 0 THEN 'n' || n END FROM generate_series(1, 3000) n");
    let plan = shop.done(&["plan"]);
    assert!(
        plan.contains("backfill") && plan.contains("ACCESS EXCLUSIVE on public.users"),
        "{plan}"
    );
    shop.done(&["expand"]);
    let nobody = "SELECT count(*) FROM public_02_named.users WHERE name = 'nobody'";
    assert_eq!(shop.sql(nobody), "1500");
    shop.done(&["abort"]);
    assert_eq!(
        shop.sql("SELECT count(*) FROM users WHERE name IS NULL"),
        "1500"
    );
    shop.done(&["expand"]);
    shop.done(&["contract"]);
    assert_eq!(
        shop.sql("SELECT count(*) FROM users WHERE name = 'nobody'"),
        "1500"
    );
    let history = shop.done(&["history"]);
    assert_eq!(history.matches("contracted").count(), 2, "{history}");
    assert_eq!(history.matches("aborted").count(), 1, "{history}");
    shop.done(&["validate"]);
}

#[test]
fn files_that_do_not_agree_with_the_history_are_named() {
    let Some(shop) = Shop::new() else { return };
    shop.sql(&format!(
        "SET ROLE {}; CREATE TABLE users (id bigint PRIMARY KEY, name text)",
        shop.database
    ));
    shop.write("01_users.yaml", USERS);
    shop.write("02_named.yaml", NAMED);
    shop.done(&["baseline", "01_users"]);
    shop.done(&["expand"]);
    shop.write("02_named.yaml", &NAMED.replace("nobody", "somebody"));
    let (code, out, _) = shop.migrate(&["validate"]);
    assert!(
        code == 1 && out.contains("`02_named` has changed since it was done"),
        "{out}"
    );
    shop.done(&["repair"]);
    shop.done(&["validate"]);
    shop.write("01_b.yaml", NAMED);
    shop.write("02_a.yaml", NAMED);
    let (code, _, err) = shop.migrate(&["expand"]);
    assert!(
        code == 2 && err.contains("`02_a` comes before migrations that are done"),
        "{err}"
    );
}

#[test]
fn a_migration_that_rows_refuse_is_taken_back_and_says_why() {
    let Some(shop) = Shop::new() else { return };
    shop.write("01_users.yaml", USERS);
    shop.write(
        "02_number.yaml",
        "operations:
  - alter_column: {table: users, column: name, type: bigint, up: 'name::bigint', down: 'name::text'}
",
    );
    shop.done(&["expand", "01_users"]);
    shop.done(&["contract"]);
    shop.sql("INSERT INTO users VALUES (1, '1'), (2, 'two'), (3, '3')");
    let (code, _, err) = shop.migrate(&["expand"]);
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("1 row of public.users cannot be filled in, such as id = 2"),
        "{err}"
    );
    shop.sql("UPDATE users SET name = '2' WHERE id = 2");
    shop.done(&["expand"]);
    assert_eq!(
        shop.sql("SELECT sum(name) FROM public_02_number.users"),
        "6"
    );
    let (code, _, err) = shop.migrate(&["expand", "05_missing"]);
    assert!(
        code == 2 && err.contains("no pending migration is called"),
        "{err}"
    );
}

/// The process is killed for good wherever it happens to be after so many lines of progress.
#[test]
fn a_killed_expand_is_carried_on_by_the_next() {
    let Some(shop) = Shop::new() else { return };
    shop.write("01_users.yaml", USERS);
    shop.write("02_named.yaml", NAMED);
    shop.done(&["expand", "01_users"]);
    shop.done(&["contract"]);
    shop.sql("INSERT INTO users SELECT n, CASE WHEN n % 2 = 0 THEN 'n' || n END FROM generate_series(1, 20000) n");
    for lines in 0..8 {
        let mut killed = shop
            .command(&["expand"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(killed.stderr.take().unwrap());
        let said: Vec<String> = said.lines().take(lines).map_while(Result::ok).collect();
        killed.kill().unwrap();
        killed.wait().unwrap();
        shop.done(&["expand"]);
        let nobody = "SELECT count(*) FROM public_02_named.users WHERE name = 'nobody'";
        assert_eq!(shop.sql(nobody), "10000", "killed after {said:?}");
        shop.done(&["abort"]);
        assert_eq!(
            shop.sql("SELECT count(*) FROM users WHERE name IS NULL"),
            "10000"
        );
    }
}

/// What an old program writes and the change cannot convert is said, with what to do.
#[test]
fn rows_that_are_not_converted_are_named_by_status_and_stop_the_contract() {
    let Some(shop) = Shop::new() else { return };
    shop.write("01_users.yaml", USERS);
    shop.write(
        "02_number.yaml",
        "operations:
  - alter_column: {table: users, column: name, type: bigint, up: 'name::bigint', down: 'name::text'}
",
    );
    shop.done(&["expand"]);
    shop.sql("INSERT INTO users VALUES (1, '1'), (2, 'two')");
    let status = shop.done(&["status"]);
    let line = "  1 of users not converted, such as id = 2: invalid input syntax for type bigint: \"two\"; \
        no contract until they are written again";
    assert!(status.contains(line), "{status}");
    shop.done(&["contract", "01_users"]);
    let (code, _, err) = shop.migrate(&["contract"]);
    assert!(code == 1 && err.contains("such as id = 2"), "{err}");
    shop.sql("UPDATE users SET name = '2' WHERE id = 2");
    assert!(!shop.done(&["status"]).contains("not converted"));
    shop.done(&["contract"]);
}
