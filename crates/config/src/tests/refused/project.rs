//! The file as a whole, and the server.

use super::super::{LEAST, refused_with};
use super::with;

#[test]
fn files_of_another_version_are_refused() {
    refused_with(
        &LEAST.replace("version = 1", "version = 2"),
        "`version` cannot be 2",
    );
    refused_with(&LEAST.replace("version = 1\n", ""), "`version` is missing");
}

#[test]
fn a_project_without_services_is_refused() {
    refused_with("version = 1\nproject = \"a\"", "`service` is missing");
    refused_with(
        "version = 1\nproject = \"a\"\n[service]",
        "the file has no service",
    );
    refused_with(
        &LEAST.replace("service.web", "service.Web"),
        "a service cannot be named `Web`",
    );
}

#[test]
fn tables_and_keys_that_nobody_knows_are_refused() {
    for (line, name) in [("flags", "flags"), ("alert.ops", "alert")] {
        let text = format!("{LEAST}[{line}]\n");
        refused_with(&text, &format!("unknown key `{name}`"));
    }
    let text = format!("{LEAST}[server]\nadmin = \"0.0.0.0:443\"");
    refused_with(&text, "unknown key `admin` in server");
    refused_with(
        &with("image = \"a:1\""),
        "unknown key `image` in service.web",
    );
    refused_with(
        &LEAST.replace("/healthz\"", "/healthz\", interval = \"1s\""),
        "unknown key `interval` in service.web.health",
    );
}

#[test]
fn addresses_and_ports_of_the_server_are_checked() {
    for (line, message) in [
        ("http = \"8080\"", "`http` cannot be \"8080\""),
        (
            "http = \"localhost:80\"",
            "`http` cannot be \"localhost:80\"",
        ),
        (
            "http = \"0.0.0.0:25000\"",
            "the server itself listens on port 25000, which is one of those that are assigned: 20000-29999",
        ),
        (
            "ports = \"8000-9000\"",
            "the server itself listens on port 8080, which is one of those that are assigned: 8000-9000",
        ),
        ("ports = \"300-200\"", "`ports` cannot be \"300-200\""),
        ("keep_releases = 0", "`keep_releases` cannot be 0"),
    ] {
        refused_with(&format!("{LEAST}[server]\n{line}"), message);
    }
}

#[test]
fn there_are_ports_for_all_replicas() {
    let text = |end: u32| format!("{LEAST}replicas = 11\n[server]\nports = \"21000-{end}\"");
    assert!(crate::parse(&text(21_010)).is_ok());
    refused_with(
        &text(21_009),
        "11 replicas cannot have a port each, there are 10",
    );
}

#[test]
fn lists_and_services_are_bounded() {
    let hosts: Vec<String> = (0..101).map(|number| format!("\"h{number}\"")).collect();
    refused_with(
        &with(&format!("hosts = [{}]", hosts.join(", "))),
        "`hosts` has 101 elements",
    );
    let services: String = (0..200)
        .map(|number| format!("[service.a{number}]\n"))
        .collect();
    refused_with(&format!("{LEAST}{services}"), "the file has 201 services");
}

#[test]
fn databases_and_those_who_name_them_fit_together() {
    let database = "[database.main]\nurl = \"secret:URL\"\nmigrations = \"db\"\n";
    refused_with(&with("database = \"main\""), "there is no database `main`");
    let text = format!("{}{database}", with("database = \"mian\""));
    refused_with(&text, "there is no database `mian`");
    let text = format!(
        "{}{database}",
        with("database = \"main\"\nenv = { URL = \"x\" }")
    );
    refused_with(
        &text,
        "`URL` in `env` is the secret that the database's URL comes in",
    );
    for (line, message) in [
        (
            "url = \"secret:URL\"",
            "`migrations` is missing in database.main",
        ),
        (
            "url = \"secret:URL\"\nmigrations = \"db\"\nsearch_path = \"query\"",
            "`search_path` cannot be \"query\"",
        ),
        (
            "url = \"secret:URL\"\nmigrations = \"db\"\nschema = \"My Schema\"",
            "`schema` cannot be \"My Schema\"",
        ),
        (
            "url = \"secret:URL\"\nmigrations = \"db\"\ncontract = { when = \"1h\" }",
            "unknown key `when` in database.main.contract",
        ),
        (
            "url = \"secret:URL\"\nmigrations = \"db\"\nlock_timeout = \"0s\"",
            "`lock_timeout` cannot be \"0s\"",
        ),
    ] {
        refused_with(&format!("{LEAST}[database.main]\n{line}\n"), message);
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let database = |lines: &str| format!("{LEAST}[database.main]\n{lines}\n");
    let url = "\"postgres://u:hunter2@h/d\"";
    for (text, message) in [
        (
            database(&format!("url = {url}\nmigrations = \"db\"")),
            "`url` cannot be what is written here",
        ),
        (
            database("url = \"hunter2\"\nmigrations = \"db\""),
            "`url` cannot be what is written here",
        ),
        (
            database("url = [\"hunter2\"]\nmigrations = \"db\""),
            "`url` cannot be what is written here",
        ),
        (
            database("url = \"secret:A\"\nmigrations = \"db\"\npassword = \"hunter2\""),
            "unknown key `password` in database.main",
        ),
        (
            format!("{LEAST}[database]\nmain = {{ url = {url}, lock = 1 }}\n"),
            "unknown key `lock` in database.main",
        ),
        (
            with("secrets = [\"TOKEN=hunter2\"]"),
            "`secrets` cannot be what is written here",
        ),
        (
            with("secrets = \"hunter2\""),
            "`secrets` cannot be what is written here",
        ),
        (
            with(&format!("users = {url}")),
            "unknown key `users` in service.web",
        ),
        (
            with(&format!("replicas = {url}")),
            "`replicas` cannot be \"postgres://u:*******@h/d\"",
        ),
        (
            with(
                "[service.web.rollout]\nstrategy = \"canary\"\nsteps = [{ for = \"1m\", \
                  audience = { header = \"a\", value = \"hunter2\\u0001\" } }]",
            ),
            "`value` cannot be what is written here",
        ),
    ] {
        refuse_silently(&text, message);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_without_its_passwords() {
    for url in [
        "url = \"postgres://u:hunter2@h/d",
        "url = postgres://u:hunter2@h/d",
        "url = \"secret:A\"\nurl = \"postgres://u:hunter2@h/d\"",
        "url = \"postgres://u:hunter2@h/d\" \"",
    ] {
        let text = format!("{LEAST}[database.main]\n{url}\nmigrations = \"db\"\n");
        let shown = crate::parse(&text)
            .unwrap_err()
            .render("gapless.toml", &text);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// Asserts that `text` is refused with `message`, and that nothing shown of it is the password.
fn refuse_silently(text: &str, message: &str) {
    let report = crate::parse(text).unwrap_err();
    let messages: Vec<_> = report.diagnostics.iter().map(|d| &d.message).collect();
    assert!(messages.iter().any(|one| *one == message), "{messages:?}");
    let shown = report.render("gapless.toml", text);
    assert!(!shown.contains("hunter2"), "{shown}");
    let sent = serde_json::to_string(&report).unwrap();
    assert!(!sent.contains("hunter2"), "{sent}");
}
