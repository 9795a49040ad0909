//! `gapless migrate lint` as a CI job calls it: no server, no database, no configuration.

use std::process::{Command, Output};

fn lint(files: &[(&str, &str)], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file can be written");
    }
    Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["migrate", "lint"])
        .args(args)
        .current_dir(folder.path())
        .output()
        .expect("the program starts")
}

const SAFE: (&str, &str) = (
    "1.yaml",
    "operations: [{drop_column: {table: t, column: c, down: \"0\"}}]",
);
const DANGEROUS: (&str, &str) = ("2.sql", "DROP TABLE users;\n");

#[test]
fn the_exit_code_says_what_was_found() {
    let code = |files: &[_], args: &[&str]| lint(files, args).status.code();
    assert_eq!(code(&[SAFE], &["1.yaml"]), Some(0));
    assert_eq!(code(&[SAFE, DANGEROUS], &["."]), Some(1));
    assert_eq!(code(&[("a.yaml", "x: 1")], &["a.yaml"]), Some(2));
    assert_eq!(code(&[], &["absent.yaml"]), Some(2));
}

#[test]
fn results_are_for_people_programs_and_code_hosts() {
    let said = |args: &[&str]| {
        let output = lint(&[DANGEROUS], args);
        String::from_utf8(output.stdout).expect("it is text")
    };
    assert!(said(&["2.sql"]).contains("[ban-drop-table]"));
    for args in [&["2.sql", "--format", "json"][..], &["2.sql", "--json"]] {
        let document: serde_json::Value = serde_json::from_str(&said(args)).expect("JSON");
        assert_eq!(document["findings"][0]["file"], "2.sql", "{args:?}");
    }
    let log = said(&["2.sql", "--format", "sarif"]);
    let log: serde_json::Value = serde_json::from_str(&log).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
}

const SIZED: &str = "\
ALTER TABLE users DROP COLUMN name;
ALTER TABLE users ALTER COLUMN age TYPE bigint;
";

/// A database where a column is being added, and files that come next.
struct Shop {
    cluster: stage::Cluster,
    name: String,
    folder: tempfile::TempDir,
}

impl Shop {
    /// `None` where no server is installed; the reason is printed.
    fn new() -> Option<Self> {
        if let Err(reason) = stage::Cluster::installed() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let cluster = stage::Cluster::start("", &[]).expect("a server starts");
        let name = cluster.database().expect("a database can be made");
        let make = format!(
            "SET ROLE {name}; CREATE TABLE users (id bigint PRIMARY KEY, name text, age int);
             INSERT INTO users SELECT n, 'u', 1 FROM generate_series(1, 120000) n; ANALYZE users"
        );
        cluster.sql(&name, &make).expect("a table can be made");
        let folder = tempfile::tempdir().expect("a folder can be made");
        Some(Self {
            cluster,
            name,
            folder,
        })
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file can be written");
    }

    /// `gapless migrate` on the database.
    fn migrate(&self, args: &[&str]) -> Output {
        let mut gapless = Command::new(env!("CARGO_BIN_EXE_gapless"));
        gapless
            .arg("migrate")
            .args(args)
            .current_dir(self.folder.path())
            .env("SHOP_URL", self.cluster.url(&self.name, &self.name));
        gapless.output().expect("the program starts")
    }
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// What only the database knows: which columns a published version shows, how many rows there
/// are, what is in progress, and what is done.
#[test]
fn a_database_says_more() {
    let Some(shop) = Shop::new() else {
        return;
    };
    let nick = "{add_column: {table: users, column: {name: nick, type: text, nullable: true}}}";
    let gone = "{drop_column: {table: users, column: nick, down: \"'x'\"}}";
    let wrong = "{drop_column: {table: users, column: absent, down: '1'}}";
    for (name, operation) in [("1_nick", nick), ("2_gone", gone), ("3_wrong", wrong)] {
        let text = format!("operations: [{operation}]");
        shop.write(&format!("{name}.yaml"), &text);
    }
    let begun = shop.migrate(&[
        "expand",
        "1_nick",
        "--migrations",
        ".",
        "--url-from-env",
        "SHOP_URL",
    ]);
    let said = String::from_utf8_lossy(&begun.stderr);
    assert!(begun.status.success(), "{said}");
    // SQL of another tool: `expand` would refuse to find it among its own.
    shop.write("4_sized.sql", SIZED);

    let linted = shop.migrate(&[
        "lint",
        ".",
        "--format",
        "json",
        "--url-from-env",
        "SHOP_URL",
    ]);
    assert_eq!(linted.status.code(), Some(1));
    let document = json(&linted);
    let findings = document["findings"].as_array().expect("a list");
    let said = |file: &str, rule: &str| {
        let found = findings.iter().find(|it| {
            let name = it["file"].as_str().unwrap_or_default();
            name.ends_with(file) && it["rule"] == rule
        });
        found.map(|it| it["message"].as_str().unwrap_or_default().to_owned())
    };
    let used = said("4_sized.sql", "removes-what-is-used").expect("a version shows it");
    assert!(used.contains("`users.name`"), "{used}");
    let size = said("4_sized.sql", "works-under-a-lock").expect("it is big");
    assert!(size.contains("120000 rows"), "{size}");
    assert_eq!(said("2_gone.yaml", "plan"), None, "{document:#}");
    let absent = said("3_wrong.yaml", "plan").expect("there is no such column");
    assert!(absent.contains("`absent`"), "{absent}");
    let done = |it: &serde_json::Value| it["file"].as_str().unwrap_or_default().contains("1_nick");
    assert!(!findings.iter().any(done), "{document:#}");

    let without = shop.migrate(&["lint", "4_sized.sql", "--json"]);
    let without = json(&without).to_string();
    assert!(!without.contains("120000"), "{without}");
}

#[test]
fn sql_of_ours_that_does_not_say_its_way_back_is_warned_of() {
    let without = (
        "1.sql",
        "-- gapless: expand\nCREATE TABLE t (id bigint PRIMARY KEY);\n",
    );
    let with = (
        "2.sql",
        "-- gapless: expand\nCREATE TABLE t (id bigint PRIMARY KEY);\n-- gapless: down\nDROP TABLE t;\n",
    );
    let output = lint(&[without], &["1.sql", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("no-way-back"), "{text}");
    let output = lint(&[with], &["2.sql", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("no-way-back"), "{text}");
}
