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

/// What only the database knows: which columns a published version shows, how many rows there
/// are, what is in progress, and what is done.
#[test]
fn a_database_says_more() {
    if let Err(reason) = stage::Cluster::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
    let cluster = stage::Cluster::start("", &[]).expect("a server starts");
    let name = cluster.database().expect("a database can be made");
    let make = format!(
        "SET ROLE {name}; CREATE TABLE users (id bigint PRIMARY KEY, name text, age int);
         INSERT INTO users SELECT n, 'u', 1 FROM generate_series(1, 120000) n; ANALYZE users"
    );
    cluster.sql(&name, &make).expect("a table can be made");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let nick = "operations: [{add_column: {table: users, column: {name: nick, type: text, nullable: true}}}]";
    let gone = "operations: [{drop_column: {table: users, column: nick, down: \"'x'\"}}]";
    let wrong = "operations: [{drop_column: {table: users, column: absent, down: '1'}}]";
    let files = [
        ("1_nick.yaml", nick),
        ("2_gone.yaml", gone),
        ("3_wrong.yaml", wrong),
    ];
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file can be written");
    };
    for (name, text) in files {
        write(name, text);
    }
    let migrate = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_gapless"))
            .arg("migrate")
            .args(args)
            .current_dir(folder.path())
            .env("SHOP_URL", cluster.url(&name, &name))
            .output()
            .expect("the program starts")
    };
    let database = ["--url-from-env", "SHOP_URL"];
    let begun = migrate(&[&["expand", "1_nick", "--migrations", "."], &database[..]].concat());
    assert!(
        begun.status.success(),
        "{}",
        String::from_utf8_lossy(&begun.stderr)
    );
    // SQL of another tool: `expand` would refuse to find it among its own.
    write("4_sized.sql", SIZED);

    let all = ["1_nick.yaml", "2_gone.yaml", "3_wrong.yaml", "4_sized.sql"];
    let linted = migrate(&[&["lint", "--format", "json"], &all[..], &database].concat());
    assert_eq!(linted.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&linted.stdout).expect("JSON");
    let findings = document["findings"].as_array().expect("a list");
    let said = |file: &str, rule: &str| {
        let found = findings
            .iter()
            .find(|it| it["file"] == file && it["rule"] == rule);
        found.map(|it| it["message"].as_str().unwrap_or_default().to_owned())
    };
    let used = said("4_sized.sql", "removes-what-is-used").expect("a version shows it");
    assert!(used.contains("`users.name`"), "{used}");
    let size = said("4_sized.sql", "works-under-a-lock").expect("it is big");
    assert!(size.contains("120000 rows"), "{size}");
    assert_eq!(said("2_gone.yaml", "plan"), None, "{document:#}");
    let absent = said("3_wrong.yaml", "plan").expect("there is no such column");
    assert!(absent.contains("`absent`"), "{absent}");
    assert!(
        findings.iter().all(|it| it["file"] != "1_nick.yaml"),
        "it is done"
    );

    let log = migrate(&[&["lint", "4_sized.sql", "--format", "sarif"], &database[..]].concat());
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("a list");
    assert!(
        results
            .iter()
            .any(|it| it["ruleId"] == "works-under-a-lock"),
        "{log:#}"
    );
    let without = migrate(&["lint", "4_sized.sql", "--json"]);
    let without = String::from_utf8_lossy(&without.stdout).into_owned();
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
