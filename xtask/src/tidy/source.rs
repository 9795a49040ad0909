//! Rules about source text: sizes, words, unfinished marks, where `unsafe` may stand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::root;

const FILE_LINES_MAX: usize = 600;

/// Modules that may hold `unsafe`, each with its reasons in its own module doc.
const UNSAFE: [&str; 4] = [
    "crates/ledger/src/mapping.rs",
    "crates/proxy/src/sys.rs",
    "crates/runtime/src/sys.rs",
    "crates/supervisor/src/sys.rs",
];

/// Word parts that name nothing.
const EMPTY_WORDS: [&str; 3] = ["manager", "helper", "util"];

/// Checks every Rust file of the workspace.
pub(super) fn check() -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask", "fuzz"] {
        walk(&root().join(folder), &mut files).map_err(|error| format!("{folder}: {error}"))?;
    }
    let mut breaches = rooms_described()?;
    for file in files {
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file
            .strip_prefix(root())
            .unwrap_or(&file)
            .to_string_lossy()
            .into_owned();
        breaches.extend(file_breaches(&name, &text));
    }
    Ok(breaches)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn file_breaches(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(format!(
            "{name} has {lines} lines, more than {FILE_LINES_MAX}"
        ));
    }
    let entry = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    if !text.starts_with("//!") && !name.ends_with("tests.rs") && (entry || name.contains("/src/"))
    {
        breaches.push(format!(
            "{name} does not begin with a module doc that says why it is there"
        ));
    }
    if name.starts_with("xtask/src/tidy") {
        return breaches;
    }
    let holds_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    if holds_unsafe.iter().any(|form| text.contains(form)) && !UNSAFE.contains(&name) {
        breaches.push(format!(
            "{name} holds unsafe code; only {} may",
            UNSAFE.join(", ")
        ));
    }
    for (number, line) in text.lines().enumerate() {
        breaches.extend(line_breach(line).map(|what| format!("{name}:{}: {what}", number + 1)));
    }
    breaches
}

fn line_breach(line: &str) -> Option<String> {
    for mark in ["TODO", "FIXME", "XXX", "#[ignore]", "dbg!("] {
        if line.contains(mark) {
            return Some(format!("`{mark}`: finish it or leave it out"));
        }
    }
    let declared = ["fn ", "struct ", "enum ", "trait ", "mod ", "type "];
    for keyword in declared {
        let Some((before, after)) = line.split_once(keyword) else {
            continue;
        };
        let starts = before.chars().last().is_none_or(char::is_whitespace);
        let name: String = after
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let lower = name.to_lowercase();
        let empty = EMPTY_WORDS.iter().find(|word| {
            lower
                .split('_')
                .any(|part| part.trim_end_matches('s') == **word)
                || lower.ends_with(*word)
        });
        if let (true, Some(word)) = (starts && !line.trim_start().starts_with("//"), empty) {
            return Some(format!("`{name}`: `{word}` names nothing, say what it is"));
        }
    }
    None
}

/// Every room must stand in the code map.
fn rooms_described() -> Result<Vec<String>, String> {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md"))
        .map_err(|error| format!("ARCHITECTURE.md: {error}"))?;
    let rooms = super::manifest::rooms()?;
    let missing = rooms
        .iter()
        .filter(|room| !map.contains(&format!("`{room}`")));
    Ok(missing
        .map(|room| format!("ARCHITECTURE.md does not say what room `{room}` is for"))
        .collect())
}
