//! What is refused, each mistake with its message.

mod command;
mod consequence;
mod effect;
mod project;
mod rollout;
mod service;
mod several;
mod tcp;

use super::LEAST;

/// `LEAST` with a line added to its service.
fn with(line: &str) -> String {
    format!("{LEAST}{line}\n")
}

/// `LEAST` with its rollout.
fn rollout(lines: &str) -> String {
    format!("{LEAST}[service.web.rollout]\n{lines}\n")
}

/// `LEAST` without a port, with its rollout.
fn worker(lines: &str) -> String {
    let text = rollout(lines).replace("health = { http = \"/healthz\" }", "port = false");
    text.replace(" --port $PORT", "")
}

/// `LEAST` with another command.
fn run(command: &str) -> String {
    LEAST.replace("\"./web --port $PORT\"", command)
}

/// A second service.
fn second(lines: &str) -> String {
    format!(
        "{LEAST}[service.api]\nartifact = \"a\"\nrun = \"./a\"\nhealth = {{ tcp = true }}\n{lines}\n"
    )
}
