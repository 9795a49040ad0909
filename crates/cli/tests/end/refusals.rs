//! What is refused, and how it is said.

use crate::project::Project;

#[test]
fn every_mistake_of_the_configuration_is_shown_at_once() {
    let mut project = Project::new();
    project.write(
        "replics = 2\nhealth = { http = 7 }\ndrain = \"5 parsecs\"",
        "",
    );
    let said = project.run(&["config", "check"]);
    assert_eq!(said.code, 2);
    for expected in ["replics", "replicas", "parsecs", "gapless.toml:"] {
        assert!(
            said.errors.contains(expected),
            "{expected} is missing in {}",
            said.errors
        );
    }
}

#[test]
fn tables_of_what_does_not_exist_yet_are_refused_as_unknown() {
    let mut project = Project::new();
    project.write("", "\n[flags]\nsource = \"flags.json\"");
    let said = project.run(&["config", "check"]);
    assert_eq!(said.code, 2);
    assert!(said.errors.contains("flags"), "{}", said.errors);
}

#[test]
fn without_a_server_the_next_command_is_said() {
    let mut project = Project::new();
    project.write("", "");
    let said = project.run(&["status"]);
    assert_eq!(said.code, 1);
    assert!(said.errors.contains("gapless server"), "{}", said.errors);
}

#[test]
fn a_missing_artefact_changes_nothing() {
    let mut project = Project::deployed("", "");
    let said = project.deploy("artifact = \"nowhere\"", "", &[]);
    assert_eq!(said.code, 2, "{}", said.errors);
    assert!(said.errors.contains("nowhere"), "{}", said.errors);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_link_out_of_the_artefact_is_refused() {
    let mut project = Project::deployed("", "");
    std::os::unix::fs::symlink("/etc/passwd", project.stage.path("app/link")).unwrap();
    let said = project.deploy("", "", &[]);
    assert_eq!(said.code, 2, "{}", said.errors);
    assert!(said.errors.contains("link"), "{}", said.errors);
}

#[test]
fn a_taken_listening_address_is_refused_and_names_who_has_it() {
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    let taken = std::net::TcpListener::bind(project.address).unwrap();
    let said = project.deploy("", "", &[]);
    assert_ne!(said.code, 0);
    assert!(
        said.errors.contains(&std::process::id().to_string()),
        "{}",
        said.errors
    );
    drop(taken);
    assert_eq!(project.redeploy(&[]).code, 0);
}

#[test]
fn a_path_below_two_services_is_refused_with_both() {
    let mut project = Project::new();
    project.write(
        "",
        "\n[service.other]\nartifact = \"app\"\nrun = \"./app\"\nhealth = { tcp = true }",
    );
    let said = project.run(&["config", "check"]);
    assert_eq!(said.code, 2);
    assert!(
        said.errors.contains("other") && said.errors.contains("web"),
        "{}",
        said.errors
    );
}
