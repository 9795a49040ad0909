//! What is refused, and in which words.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::CertificateFiles;
use tls::{Certificates, LoadError, Stamp, load};

fn issue(folder: &Path, file: &str, names: &[&str]) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |kind: &str| {
        let path = folder.join(format!("{file}.{kind}"));
        path.to_str().unwrap().to_owned()
    };
    let files = CertificateFiles {
        cert: path("cert"),
        key: path("key"),
    };
    fs::write(&files.cert, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&files.key, Permissions::from_mode(0o640)).unwrap();
    files
}

#[test]
fn a_certificate_says_its_names_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = load(&issue(folder.path(), "a", &["A.test", "*.b.test"])).unwrap();
    assert_eq!(loaded.names, ["a.test", "*.b.test"]);
    assert!(loaded.expires > 1_800_000_000);
}

#[test]
fn a_key_that_everybody_may_read_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = issue(folder.path(), "a", &["a.test"]);
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let error = load(&files).unwrap_err();
    assert!(matches!(error, LoadError::OpenToOthers { mode: 0o644, .. }));
    let command = format!("chmod o-rwx {}", files.key);
    assert!(error.to_string().contains(&command), "{error}");
}

#[test]
fn files_that_do_not_belong_together_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let one = issue(folder.path(), "a", &["a.test"]);
    let other = issue(folder.path(), "b", &["a.test"]);
    let with = |cert: &str, key: &str| {
        load(&CertificateFiles {
            cert: cert.to_owned(),
            key: key.to_owned(),
        })
    };
    let mixed = with(&one.cert, &other.key);
    assert!(matches!(mixed, Err(LoadError::Unusable { .. })));
    let swapped = with(&one.key, &one.key);
    assert!(matches!(
        swapped,
        Err(LoadError::Missing {
            what: "certificate",
            ..
        })
    ));
    let gone = with(&format!("{}.gone", one.cert), &one.key).unwrap_err();
    let text = gone.to_string();
    assert!(text.ends_with("a.cert.gone cannot be read"), "{text}");
}

#[test]
fn the_most_specific_name_is_chosen_and_the_first_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["first.test", "*.wild.test", "exact.wild.test"];
    let loaded = names.map(|name| load(&issue(folder.path(), "one", &[name])).unwrap());
    let certificates = Certificates::new(loaded.into());
    let chosen = |name| certificates.choose(name, |_| true).unwrap().names[0].clone();
    assert_eq!(chosen(Some("any.wild.test")), "*.wild.test");
    assert_eq!(chosen(Some("exact.wild.test")), "exact.wild.test");
    assert_eq!(chosen(Some("a.any.wild.test")), "first.test");
    assert_eq!(chosen(Some("wild.test")), "first.test");
    assert_eq!(chosen(None), "first.test");
}

#[test]
fn a_replaced_file_has_another_stamp() {
    let folder = tempfile::tempdir().unwrap();
    let files = issue(folder.path(), "a", &["a.test"]);
    let before = Stamp::of(&files);
    assert_eq!(before, Stamp::of(&files));
    let fresh = folder.path().join("fresh");
    fs::copy(&files.key, &fresh).unwrap();
    fs::rename(&fresh, &files.key).unwrap();
    assert_ne!(before, Stamp::of(&files));
}
