//! Files that are made from the code, so that they cannot say something else.

use std::fs;
use std::process::Command;

use crate::run::root;

/// A file and the arguments of `gapless` that print it.
const FILES: [(&str, &[&str]); 3] = [
    ("docs/gapless.schema.json", &["config", "schema"]),
    ("docs/openapi.json", &["api"]),
    ("docs/commands.md", &["man", "--markdown"]),
];

/// Writes the files, or with `check` says which differ.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let mut stale = Vec::new();
    for (path, args) in FILES {
        let fresh = print(args)?;
        let file = root().join(path);
        let kept = fs::read(&file).unwrap_or_default();
        if fresh == kept {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            fs::write(&file, fresh).map_err(|error| format!("{path}: {error}"))?;
            eprintln!("wrote {path}");
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} differ from the code; run `cargo xtask generate`",
        stale.join(", ")
    ))
}

fn print(args: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--package", "cli", "--"])
        .args(args)
        .current_dir(root())
        .output()
        .map_err(|error| format!("`cargo` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "`gapless {}` ended with {}: {said}",
        args.join(" "),
        output.status
    ))
}
