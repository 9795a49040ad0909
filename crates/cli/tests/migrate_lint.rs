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
