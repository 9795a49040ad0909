//! The whole way from text to project or report.

mod declared;
mod generated;
mod mutated;
mod refused;
mod shown;
mod understood;

/// A project that sets every key of every section at least once.
const EVERYTHING: &str = include_str!("tests/everything.toml");

/// The least that is a project.
const LEAST: &str = r#"version = 1
project = "shop"
[service.web]
artifact = "dist"
run = "./web --port $PORT"
health = { http = "/healthz" }
"#;

/// Asserts that `text` is refused once, with `message`.
fn refused_with(text: &str, message: &str) {
    let report = crate::parse(text).expect_err(text);
    let messages: Vec<&str> = report
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(messages, [message], "{text}");
}
