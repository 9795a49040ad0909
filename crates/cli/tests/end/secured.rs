//! Programs that speak over TLS.

use std::path::Path;

use crate::project::Project;

/// Writes a certificate for `localhost` with its key; returns their paths.
fn issue(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cert = write("program.cert", made.cert.pem());
    let key = write("program.key", made.signing_key.serialize_pem());
    (cert, key)
}

/// The lines of a service whose program speaks `protocol`.
fn speaking(protocol: &str, (cert, key): &(String, String)) -> String {
    let h2c = match protocol {
        "h2" => " --h2c",
        _ => "",
    };
    format!(
        "run = \"./app demo-app{h2c} --tls-cert {cert} --tls-key {key}\"\n\
         protocol = \"{protocol}\"\nprogram_tls = {{ ca = \"{cert}\" }}\n\
         proxy = {{ connect_timeout = \"20s\" }}"
    )
}

#[test]
fn rolling_deploys_of_programs_over_tls_lose_nothing() {
    let mut project = Project::new();
    let files = issue(&project.stage.path(""));
    project.stage.serve(&[]).unwrap();
    let (https, h2) = (speaking("https", &files), speaking("h2", &files));
    let said = project.deploy(&https, "", &[]);
    assert_eq!(
        said.code,
        0,
        "{}\n{}",
        said.errors,
        project.stage.server_log()
    );
    let client = project.load(200);
    // Over TLS to the same, to HTTP/2, and from there to the same.
    for service in [&https, &h2, &h2] {
        let said = project.deploy(service, "", &[]);
        assert_eq!(said.code, 0, "{}\n{:?}", said.errors, said.receipts());
        let receipt = said.receipts().remove(0);
        assert_eq!(
            (receipt.lost, receipt.failed_by_release, receipt.cut),
            (Some(0), Some(0), Some(0)),
            "{receipt:?}"
        );
        assert!(receipt.requests.unwrap() > 0);
    }
    let tally = client.stop_unharmed();
    for release in ["v1", "v2", "v3", "v4"] {
        assert!(tally.by_release[release] > 0, "{tally:?}");
    }
}

#[test]
fn a_program_that_proves_nothing_is_never_ready_and_the_old_release_stays() {
    let mut project = Project::new();
    let files = issue(&project.stage.path(""));
    project.stage.serve(&[]).unwrap();
    let said = project.deploy(&speaking("https", &files), "", &[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let client = project.load(100);
    let other = project.stage.path("other");
    std::fs::create_dir(&other).unwrap();
    let stranger = issue(&other);
    let wrong = speaking("https", &stranger).replace(
        &format!("ca = \"{}\"", stranger.0),
        &format!("ca = \"{}\"", files.0),
    );
    let said = project.deploy(&wrong, "deadline = \"2s\"", &[]);
    assert_eq!(said.code, 3, "{}", said.errors);
    assert!(
        said.errors.contains("does not prove over TLS"),
        "{}",
        said.errors
    );
    let tally = client.stop_unharmed();
    assert_eq!(tally.by_release.keys().collect::<Vec<_>>(), ["v1"]);
}
