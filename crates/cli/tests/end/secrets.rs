//! Secrets: values reach the program and nobody else.

use std::io::Write;
use std::process::Stdio;

use crate::project::Project;

const CANARY: &str = "canary-7f3a9c51-value";

pub(crate) fn set(project: &Project, name: &str, value: &str) {
    let mut child = project
        .stage
        .command(&["secret", "set", name])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(value.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_missing_secret_is_refused_with_the_command_that_sets_it() {
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    let said = project.deploy("secrets = [\"TOKEN\"]", "", &[]);
    assert_ne!(said.code, 0);
    assert!(
        said.errors.contains("gapless secret set TOKEN"),
        "{}",
        said.errors
    );
}

#[test]
fn an_instance_gets_the_versions_of_its_release_and_a_value_is_nowhere_else() {
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    set(&project, "TOKEN", CANARY);
    // What is run may not name the secret, so a script of the artefact does.
    let script = project.stage.path("app/start.sh");
    std::fs::write(
        &script,
        "#!/bin/sh\nprintf %s \"$TOKEN\" | wc -c > $DATA/length\nexec ./app demo-app\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let service = "secrets = [\"TOKEN\"]\nreplicas = 1\nenv = {}\nrun = \"./start.sh\"";
    assert_eq!(project.deploy(service, "", &[]).code, 0);
    let length = || std::fs::read_to_string(project.stage.path("state/data/web/length")).unwrap();
    assert_eq!(length().trim(), CANARY.len().to_string());
    set(&project, "TOKEN", "short");
    assert_eq!(
        project.redeploy(&[]).code,
        0,
        "a new version of a secret is a new release"
    );
    assert_eq!(length().trim(), "5");
    assert_eq!(project.run(&["rollback"]).code, 0);
    assert_eq!(length().trim(), CANARY.len().to_string());
    for args in [
        &["status"][..],
        &["logs"],
        &["history"],
        &["secret", "list"],
        &["why"],
    ] {
        let said = project.run(args);
        assert!(
            !format!("{:?}{}", said.lines, said.errors).contains(CANARY),
            "{args:?} shows it"
        );
    }
    for file in files(&project.stage.path("")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes());
        // The test program's own binary is this crate's, not its tests': it does not hold the value.
        assert!(!found, "{} holds the value", file.display());
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        match path.is_dir() && !path.is_symlink() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}
