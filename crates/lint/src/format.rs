//! Findings for people, for programs, and for the code hosts that show SARIF at the line.

use std::collections::BTreeSet;

use model::diagnostic::{Mistake, Mistakes};
use serde_json::{Value, json as value};

use crate::{File, Finding, Linted, Severity};

/// Findings with their source lines, each span underlined.
#[must_use]
pub fn text(files: &[File<'_>], linted: &Linted) -> String {
    let mut out = String::new();
    let source = |name: &str| {
        files
            .iter()
            .find(|file| file.name == name)
            .map_or("", |f| f.text)
    };
    for finding in &linted.findings {
        let text = source(&finding.file);
        let mut mistakes = Mistakes::new(text, "the migration");
        let message = format!("{} [{}]", finding.message, finding.rule);
        let mistake = Mistake::new(finding.span.clone(), message);
        mistakes.add(mistake.hint_if(help(finding)));
        let shown = mistakes.report().render(&finding.file, text);
        let word = word(finding.severity);
        out += &shown.replacen("error:", &format!("{word}:"), 1);
    }
    for (name, report) in &linted.unreadable {
        out += &report.render(name, source(name));
    }
    out
}

fn help(finding: &Finding) -> Option<String> {
    let fix = finding.fix.as_ref().map(|fix| fix.title.clone());
    finding.help.clone().or(fix)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// One document: `{"v": 1, "findings": […], "unreadable": […]}`.
#[must_use]
pub fn json(linted: &Linted) -> Value {
    let unreadable = linted
        .unreadable
        .iter()
        .map(|(name, report)| value!({ "file": name, "diagnostics": report.diagnostics }));
    value!({
        "v": 1,
        "findings": linted.findings,
        "unreadable": unreadable.collect::<Vec<_>>(),
    })
}

/// A SARIF 2.1.0 log of one run.
#[must_use]
pub fn sarif(files: &[File<'_>], linted: &Linted, version: &str) -> Value {
    let rules: BTreeSet<&str> = linted.findings.iter().map(|f| f.rule.as_str()).collect();
    let rules = rules
        .into_iter()
        .chain((!linted.unreadable.is_empty()).then_some("unreadable"));
    let rules: Vec<Value> = rules.map(|rule| value!({ "id": rule })).collect();
    let mut results: Vec<Value> = linted
        .findings
        .iter()
        .map(|finding| result(files, finding))
        .collect();
    for (name, report) in &linted.unreadable {
        for it in &report.diagnostics {
            results.push(value!({
                "ruleId": "unreadable",
                "level": "error",
                "message": { "text": it.message },
                "locations": [location(name, it.line, it.column)],
            }));
        }
    }
    value!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": { "driver": { "name": "gapless", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(files: &[File<'_>], finding: &Finding) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}. {help}", finding.message.trim_end_matches('.')),
        None => finding.message.clone(),
    };
    let mut result = value!({
        "ruleId": finding.rule,
        "level": word(finding.severity),
        "message": { "text": text },
        "locations": [location(&finding.file, finding.line, finding.column)],
    });
    let file = files.iter().find(|file| file.name == finding.file);
    if let (Some(fix), Some(file)) = (&finding.fix, file) {
        let replacements = fix.edits.iter().map(|(span, text)| {
            let characters = |byte: usize| file.text[..byte].chars().count();
            let offset = characters(span.start);
            let length = characters(span.end) - offset;
            value!({
                "deletedRegion": { "charOffset": offset, "charLength": length },
                "insertedContent": { "text": text },
            })
        });
        result["fixes"] = value!([{
            "description": { "text": fix.title },
            "artifactChanges": [{
                "artifactLocation": { "uri": finding.file },
                "replacements": replacements.collect::<Vec<_>>(),
            }],
        }]);
    }
    result
}

fn location(file: &str, line: usize, column: usize) -> Value {
    value!({
        "physicalLocation": {
            "artifactLocation": { "uri": file },
            "region": { "startLine": line, "startColumn": column },
        },
    })
}
