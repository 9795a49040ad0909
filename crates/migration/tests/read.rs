//! Migration files: what is read, and what is refused with its place.

use migration::{Choice, op::Operation, read};

fn refused(file: &str, text: &str) -> String {
    let report = read(file, text).expect_err("the file is wrong");
    format!("{report}\n{}", report.render(file, text))
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let text = "\
operations:
  - create_table:
      nam: users
      columns:
        - name: id
          type: bigint
          primary: true
        - type: text
  - drop_colum:
      table: users
  - set_replica_identity: {table: users, identity: {type: sometimes}}
  - create_index:
      name: i
      table: users
      columns: [{column: a, sort: DOWN}]
      unique: yes
surplus: 1
";
    insta::assert_snapshot!(refused("01_users.yaml", text));
}

#[test]
fn what_is_no_yaml_is_refused_where_it_breaks() {
    insta::assert_snapshot!(refused(
        "01.yaml",
        "operations:\n  - drop_table: {name: users\n"
    ));
}

#[test]
fn aliases_second_documents_and_doubled_keys_are_refused() {
    for text in [
        "operations: [&a {drop_table: {name: x}}, *a]",
        "operations: []\n---\noperations: []",
        "operations: []\noperations: []",
        "operations: [{drop_table: {name: a, name: b}}]",
        "",
        "[]",
        "operations: []",
    ] {
        let report = read("01.yaml", text).expect_err(text);
        assert_eq!(report.diagnostics.len(), 1, "{text}");
    }
}

#[test]
fn json_is_read_as_yaml_is() {
    let yaml = "operations:\n  - rename_table:\n      from: a\n      to: b\n";
    let json = r#"{"operations": [{"rename_table": {"from": "a", "to": "b"}}]}"#;
    let renamed = |file: &str, text: &str| {
        let migration = read(file, text).expect("it is right");
        match &migration.operations[0].value {
            Operation::RenameTable(rename) => (rename.from.to_string(), rename.to.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(renamed("1.yaml", yaml), renamed("1.json", json));
}

#[test]
fn null_is_told_from_absent() {
    let text = "operations: [{alter_column: {table: t, column: c, default: null, up: c}}]";
    let migration = read("01.yaml", text).expect("it is right");
    let Operation::AlterColumn(alter) = &migration.operations[0].value else {
        panic!("{migration:?}");
    };
    assert!(matches!(alter.default, Choice::Clear(_)));
    assert_eq!(alter.comment, Choice::Keep);
}

#[test]
fn a_script_says_its_phase_and_may_say_how_to_take_it_back() {
    let text = "-- by hand\n-- gapless: expand\nCREATE TYPE a AS ENUM ();\n-- gapless: down\nDROP TYPE a;\n";
    let migration = read("db/05_type.sql", text).expect("it is right");
    assert_eq!(migration.version("public"), "public_05_type");
    let Operation::Sql(sql) = &migration.operations[0].value else {
        panic!("{migration:?}");
    };
    assert_eq!(sql.up.as_str(), "CREATE TYPE a AS ENUM ();");
    assert_eq!(&text[sql.up.span.clone()], sql.up.as_str());
    assert_eq!(sql.down.as_ref().map(|d| d.as_str()), Some("DROP TYPE a;"));
    assert!(!sql.on_complete);
}

#[test]
fn a_script_without_phase_or_with_a_misplaced_word_is_refused() {
    insta::assert_snapshot!(refused(
        "a.sql",
        "DROP TABLE users;\n-- gapless: contract\n"
    ));
    insta::assert_snapshot!(refused("b.sql", "-- gapless: expnd\nSELECT 1;\n"));
}

#[test]
fn the_checksum_is_about_the_text_and_not_its_line_ends() {
    let sum = |text: &str| read("1.yaml", text).expect("it is right").checksum();
    let text = "operations:\n  - drop_table: {name: a}\n";
    assert_eq!(sum(text), sum(&text.replace('\n', "  \r\n")));
    assert_ne!(sum(text), sum(&text.replace("a}", "b}")));
}

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the examples are files from outside"
)]
#[test]
fn every_example_of_the_other_dialect_is_read() {
    let Ok(folder) = std::env::var("GAPLESS_PGROLL_EXAMPLES") else {
        println!("skipped: GAPLESS_PGROLL_EXAMPLES does not name the folder of examples");
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path
            .file_name()
            .expect("files have names")
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).expect("it is text");
        if let Err(report) = read(&name, &text) {
            panic!("{}", report.render(&name, &text));
        }
        count += 1;
    }
    assert!(count > 0, "the folder has no examples");
}
