//! The commented file that `gapless init` writes.

use std::fmt::Write as _;

use crate::declare::{Kind, PROJECT, Presence, ROLLOUT, SERVICE, Section};

/// What is known of the program before there is a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The file or directory to run from, relative to the configuration.
    pub artifact: String,
    /// The words of the command that starts the program.
    pub run: Vec<String>,
    /// The path that answers when the program is ready.
    pub health: String,
}

/// Keys of the service that are shown with their defaults.
const SERVICE_KEYS: [&str; 2] = ["replicas", "drain"];
/// Keys of the rollout that are shown with their defaults; all fit the default strategy.
const ROLLOUT_KEYS: [&str; 6] = [
    "strategy",
    "surge",
    "max_unavailable",
    "min_ready",
    "deadline",
    "on_fail",
];

/// A `gapless.toml` for one service called `web`, which [`crate::parse`] accepts.
///
/// What is commented out states the defaults: removing the `#` changes nothing.
/// `project` must be a valid name.
#[must_use]
pub fn init_file(project: &str, detected: &Detected) -> String {
    let mut out = String::new();
    let written = write_file(&mut out, project, detected);
    written.expect("a String takes everything");
    out
}

fn write_file(out: &mut String, project: &str, detected: &Detected) -> std::fmt::Result {
    let words: Vec<String> = detected.run.iter().map(|word| quoted(word)).collect();
    writeln!(
        out,
        "# What Gapless runs, and how new releases reach users."
    )?;
    writeln!(
        out,
        "# Lines that begin with `# name =` state the defaults."
    )?;
    writeln!(
        out,
        "# `gapless config explain` tells every value that is in force."
    )?;
    writeln!(out)?;
    writeln!(out, "version = 1")?;
    writeln!(out, "project = {}", quoted(project))?;
    writeln!(out)?;
    writeln!(out, "[server]")?;
    write_default(out, server(), "http")?;
    writeln!(out)?;
    writeln!(out, "[service.web]")?;
    write_comment(out, &SERVICE, "artifact")?;
    writeln!(out, "artifact = {}", quoted(&detected.artifact))?;
    write_comment(out, &SERVICE, "run")?;
    writeln!(out, "run = [{}]", words.join(", "))?;
    write_comment(out, &SERVICE, "health")?;
    writeln!(out, "health = {{ http = {} }}", quoted(&detected.health))?;
    for key in SERVICE_KEYS {
        write_default(out, &SERVICE, key)?;
    }
    write_stop(out)?;
    writeln!(out)?;
    writeln!(out, "[service.web.rollout]")?;
    for key in ROLLOUT_KEYS {
        write_default(out, &ROLLOUT, key)?;
    }
    Ok(())
}

fn server() -> &'static Section {
    table(&PROJECT, "server")
}

fn table(section: &Section, name: &str) -> &'static Section {
    match section.field(name).map(|field| field.kind) {
        Some(Kind::Table(table)) => table,
        _ => unreachable!("`{name}` is declared as a table"),
    }
}

fn write_comment(out: &mut String, section: &Section, name: &str) -> std::fmt::Result {
    let field = section.field(name).expect("declared");
    writeln!(out, "# {}", field.description)
}

fn write_default(out: &mut String, section: &Section, name: &str) -> std::fmt::Result {
    write_comment(out, section, name)?;
    writeln!(out, "# {name} = {}", default(section, name))
}

fn write_stop(out: &mut String) -> std::fmt::Result {
    let stop = table(&SERVICE, "stop");
    write_comment(out, &SERVICE, "stop")?;
    let (signal, grace) = (default(stop, "signal"), default(stop, "grace"));
    writeln!(out, "# stop = {{ signal = {signal}, grace = {grace} }}")
}

fn default(section: &Section, name: &str) -> &'static str {
    match section.field(name).map(|field| field.presence) {
        Some(Presence::Default(value)) => value,
        _ => unreachable!("`{name}` is declared with a default"),
    }
}

/// A string in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
