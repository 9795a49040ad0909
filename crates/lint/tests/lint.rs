//! What is found, in files of every kind.

use std::collections::{BTreeMap, BTreeSet};

use lint::{File, Known, Severity, json, lint, sarif, text};

fn shown(files: &[(&str, &str)], known: Known<'_>) -> String {
    let files: Vec<File<'_>> = files
        .iter()
        .map(|&(name, text)| File { name, text })
        .collect();
    text(&files, &lint(&files, known))
}

fn rules(name: &str, text: &str, known: Known<'_>) -> Vec<String> {
    let linted = lint(&[File { name, text }], known);
    assert_eq!(linted.unreadable, []);
    linted
        .findings
        .into_iter()
        .map(|finding| finding.rule)
        .collect()
}

const FLYWAY: &str = "\
-- V7
ALTER TABLE \"Users\" DROP COLUMN nick;
ALTER TABLE orders ALTER COLUMN total TYPE bigint;
CREATE INDEX orders_total ON orders (total);
UPDATE orders SET total = 0;
";

#[test]
fn sql_of_another_tool_is_looked_at_whole() {
    insta::assert_snapshot!(shown(&[("V7__totals.sql", FLYWAY)], Known::default()));
}

#[test]
fn what_the_running_release_uses_may_not_go() {
    let used = BTreeMap::from([("Users".to_owned(), BTreeSet::from(["nick".to_owned()]))]);
    let known = Known {
        used: Some(&used),
        ..Known::default()
    };
    let linted = lint(
        &[File {
            name: "a.sql",
            text: FLYWAY,
        }],
        known,
    );
    let found = linted
        .findings
        .iter()
        .find(|it| it.rule == "removes-what-is-used");
    assert_eq!(
        found.map(|it| (it.severity, it.line)),
        Some((Severity::Error, 2))
    );
    let others = FLYWAY.replace("nick", "nickname");
    assert!(!rules("a.sql", &others, known).contains(&"removes-what-is-used".to_owned()));
}

#[test]
fn a_contract_may_drop_what_an_expand_may_not() {
    let sql = |phase: &str| {
        format!(
            "-- gapless: {phase}\nALTER TABLE users DROP COLUMN nick;\n-- gapless: down\nSELECT 1;\n"
        )
    };
    let drops = "ban-drop-column".to_owned();
    assert!(rules("a.sql", &sql("expand"), Known::default()).contains(&drops));
    let contract = "-- gapless: contract\nALTER TABLE users DROP COLUMN nick;\n";
    assert_eq!(
        rules("a.sql", contract, Known::default()),
        Vec::<String>::new()
    );
}

#[test]
fn a_down_that_names_no_column_is_found_with_and_without_its_table() {
    let make = "operations: [{create_table: {name: events, columns: [{name: name, type: text}, {name: other, type: text}]}}]";
    let alter = |down: &str| {
        format!(
            "operations:\n  - alter_column:\n      table: events\n      column: name\n      type: varchar\n      up: name\n      down: {down}\n"
        )
    };
    let (wrong, other) = (alter("event_name"), alter("other"));
    insta::assert_snapshot!(shown(&[("35_alter.yaml", &wrong)], Known::default()));
    let found = shown(&[("1.yaml", make), ("2.yaml", &wrong)], Known::default());
    assert!(found.contains("names-no-column"), "{found}");
    assert_eq!(
        shown(&[("1.yaml", make), ("2.yaml", &other)], Known::default()),
        ""
    );
}

#[test]
fn places_and_fixes_lie_in_the_file() {
    let yaml =
        "operations:\n  - sql:\n      up: CREATE INDEX i ON t (a)\n      down: DROP INDEX i\n";
    let linted = lint(
        &[File {
            name: "a.yaml",
            text: yaml,
        }],
        Known::default(),
    );
    let found = linted
        .findings
        .iter()
        .find(|it| it.rule == "require-concurrent-index-creation");
    let found = found.expect("it locks writers out");
    assert_eq!(&yaml[found.span.clone()], "CREATE INDEX i ON t (a)");
    let fix = found.fix.as_ref().expect("it can be made better");
    let mut fixed = yaml.to_owned();
    for (range, text) in fix.edits.iter().rev() {
        fixed.replace_range(range.clone(), text);
    }
    assert!(
        fixed.contains("CREATE INDEX concurrently i")
            || fixed.contains("CREATE INDEX CONCURRENTLY i"),
        "{fixed}"
    );
}

#[test]
fn broken_sql_is_a_finding_and_a_broken_file_is_unreadable() {
    assert!(rules("a.sql", "ALTER TABEL users;", Known::default()).contains(&"syntax".to_owned()));
    let linted = lint(
        &[File {
            name: "a.yaml",
            text: "operations: 5",
        }],
        Known::default(),
    );
    assert_eq!(linted.unreadable.len(), 1);
}

#[test]
fn programs_get_json_and_code_hosts_sarif() {
    let files = [
        File {
            name: "V7__totals.sql",
            text: FLYWAY,
        },
        File {
            name: "b.yaml",
            text: "a: 1",
        },
    ];
    let linted = lint(&files, Known::default());
    let document = json(&linted);
    assert_eq!(document["v"], 1);
    assert_eq!(document["unreadable"][0]["file"], "b.yaml");
    let log = sarif(&files, &linted, "1.2.3");
    let results = log["runs"][0]["results"]
        .as_array()
        .expect("there are results");
    assert!(results.len() > linted.findings.len());
    let defined: BTreeSet<&str> = log["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    for result in results {
        let rule = result["ruleId"].as_str().expect("each names its rule");
        assert!(defined.contains(rule), "{rule}");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert!(region["startLine"].as_u64() >= Some(1), "{result}");
    }
}
