//! What a user sees: reports and explanations.

use super::{EVERYTHING, LEAST};
use crate::{ExplainError, Source, explain};

const TWENTY_MISTAKES: &str = include_str!("twenty_mistakes.toml");

fn rendered(text: &str) -> String {
    crate::parse(text).unwrap_err().render("gapless.toml", text)
}

#[test]
fn twenty_mistakes_are_shown_at_once() {
    let report = crate::parse(TWENTY_MISTAKES).unwrap_err();
    assert_eq!(report.diagnostics.len(), 20);
    insta::assert_snapshot!(report.render("gapless.toml", TWENTY_MISTAKES));
}

#[test]
fn syntax_errors_are_shown_in_place() {
    insta::assert_snapshot!(rendered(
        "version = 1\nproject = \"shop\"\n[service.web\nartifact = 'dist\nreplicas = 0\ndrain = = \"30s\"\n"
    ));
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    insta::assert_snapshot!(rendered(""));
}

#[test]
fn long_and_odd_lines_are_shown_in_part() {
    let long = format!(
        "{LEAST}\tdrain = {}\"30\" # {}\n",
        " ".repeat(200),
        "é🦀".repeat(100)
    );
    insta::assert_snapshot!(rendered(&long));
}

#[test]
fn lines_and_columns_count_characters() {
    let text = "version = 1\nproject = \"é\"  \n";
    let report = crate::parse(text).unwrap_err();
    let second = &report.diagnostics[1];
    assert_eq!((second.line, second.column), (2, 11));
    assert_eq!(&text[second.span.clone()], "\"é\"");
}

#[test]
fn places_within_commands_are_exact() {
    let text = LEAST.replace("$PORT", "${PROT}");
    let report = crate::parse(&text).unwrap_err();
    assert_eq!(&text[report.diagnostics[0].span.clone()], "${PROT}");
    let text = LEAST
        .replace("./web --port", "\\u002e/web --port")
        .replace("$PORT", "$PROT");
    let report = crate::parse(&text).unwrap_err();
    assert_eq!(
        &text[report.diagnostics[0].span.clone()],
        "\"\\u002e/web --port $PROT\""
    );
}

/// The source of a value of the file, whose line has to name it.
fn told_by(line: &str, value: &crate::Explained) -> &'static str {
    let key = value.path.rsplit('.').next().unwrap_or_default();
    let key = key.split('[').next().unwrap_or_default();
    assert!(line.contains(key), "`{}` is not in {line:?}", value.path);
    "file"
}

#[test]
fn every_value_is_explained_with_its_source() {
    let explained = explain(EVERYTHING, None).unwrap();
    let text: Vec<&str> = EVERYTHING.lines().collect();
    let lines: Vec<String> = explained
        .iter()
        .map(|value| {
            let source = match value.source {
                Source::File { line } => told_by(text[line - 1], value),
                Source::Default => "default",
            };
            format!("{} = {} ({source})", value.path, value.value)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn one_value_or_a_whole_table_is_explained() {
    let paths = |path| -> Vec<String> {
        let explained = explain(LEAST, Some(path)).unwrap();
        explained.into_iter().map(|value| value.path).collect()
    };
    assert_eq!(paths("service.web.drain"), ["service.web.drain"]);
    assert_eq!(
        paths("service.web.stop"),
        ["service.web.stop.signal", "service.web.stop.grace"]
    );
    let drain = &explain(LEAST, Some("service.web.drain")).unwrap()[0];
    assert_eq!(
        (drain.value.as_str(), drain.source),
        ("\"30s\"", Source::Default)
    );
    let run = &explain(LEAST, Some("service.web.run")).unwrap()[0];
    assert_eq!(run.source, Source::File { line: 5 });
}

#[test]
fn unknown_paths_are_answered_with_the_nearest() {
    let error = explain(LEAST, Some("service.web.drian")).unwrap_err();
    let hint = Some("service.web.drain".to_owned());
    assert_eq!(
        error,
        ExplainError::UnknownPath {
            path: "service.web.drian".to_owned(),
            hint
        }
    );
    assert_eq!(
        error.to_string(),
        "the configuration has no `service.web.drian`"
    );
}
