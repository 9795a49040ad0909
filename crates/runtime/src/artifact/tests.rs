//! Packing and unpacking give back the same; everything else is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::tree::{Node, Tree};
use super::*;

const BOUNDS: ArtifactBounds = ArtifactBounds {
    entries_max: 64,
    bytes_max: 1 << 20,
};

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("artifacts"), BOUNDS).unwrap();
    (directory, store)
}

fn packed(path: &Path) -> Vec<u8> {
    let mut stream = Vec::new();
    pack(path, &mut stream, BOUNDS).unwrap();
    stream
}

fn sample() -> TempDir {
    let source = tempfile::tempdir().unwrap();
    let at = |path: &str| source.path().join(path);
    fs::create_dir_all(at("bin")).unwrap();
    fs::create_dir_all(at(&format!("{0}/{0}", "long".repeat(30)))).unwrap();
    fs::write(at("bin/web"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(at("bin/web"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::write(
        at(&format!("{0}/{0}/ünïcode", "long".repeat(30))),
        vec![7; 70_000],
    )
    .unwrap();
    symlink("bin/web", at("start")).unwrap();
    symlink("../empty", at("bin/up")).unwrap();
    fs::write(at(&format!("line\nbreak{}", "x".repeat(120))), b"odd").unwrap();
    source
}

#[test]
fn what_is_packed_is_unpacked_and_has_the_digest_the_source_has() {
    let (_directory, store) = store();
    let source = sample();
    let digest = digest(source.path(), BOUNDS).unwrap();
    assert!(!store.has(&digest));
    assert_eq!(
        store.unpack(packed(source.path()).as_slice()).unwrap(),
        digest
    );
    let stored = store.path(&digest);
    assert_eq!(fs::read(stored.join("start")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(
        fs::read_link(stored.join("bin/up")).unwrap(),
        Path::new("../empty")
    );
    let mode = |path: &str| {
        fs::metadata(stored.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("bin/web"), mode("empty") & 0o222, mode("") & 0o222),
        (0o555, 0, 0)
    );
    assert_eq!(
        super::digest(&stored, BOUNDS).unwrap(),
        digest,
        "the copy is the same artefact"
    );
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&digest));
    store.unpack(packed(source.path()).as_slice()).unwrap();
    store.remove(&digest).unwrap();
    assert!(!store.has(&digest) && store.list().unwrap().is_empty());
}

#[test]
fn a_single_file_is_stored_under_its_name() {
    let (_directory, store) = store();
    let source = sample();
    let digest = store
        .unpack(packed(&source.path().join("bin/web")).as_slice())
        .unwrap();
    assert_eq!(fs::read_dir(store.path(&digest)).unwrap().count(), 1);
    assert!(store.path(&digest).join("web").is_file());
}

#[test]
fn every_change_of_name_mode_or_content_is_another_digest() {
    let source = sample();
    let mut digests = vec![digest(source.path(), BOUNDS).unwrap()];
    fs::set_permissions(
        source.path().join("empty"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    digests.push(digest(source.path(), BOUNDS).unwrap());
    fs::write(source.path().join("empty"), b"x").unwrap();
    digests.push(digest(source.path(), BOUNDS).unwrap());
    fs::rename(source.path().join("empty"), source.path().join("full")).unwrap();
    digests.push(digest(source.path(), BOUNDS).unwrap());
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn a_link_out_of_the_artefact_is_refused_when_packed() {
    for target in ["/etc/passwd", "../x", "bin/../../x", "start2/../.."] {
        let source = sample();
        symlink("bin", source.path().join("start2")).unwrap();
        symlink(target, source.path().join("out")).unwrap();
        let refused = digest(source.path(), BOUNDS).unwrap_err();
        assert!(
            matches!(refused, ArtifactError::LinkOutside { .. }),
            "{target}: {refused}"
        );
    }
}

#[test]
fn devices_sockets_and_pipes_are_refused_when_packed() {
    let source = sample();
    let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
    assert!(matches!(
        digest(source.path(), BOUNDS),
        Err(ArtifactError::Special { .. })
    ));
}

#[test]
fn more_entries_or_bytes_than_allowed_are_refused() {
    let source = sample();
    let few = ArtifactBounds {
        entries_max: 3,
        ..BOUNDS
    };
    assert!(matches!(
        digest(source.path(), few),
        Err(ArtifactError::TooManyEntries { max: 3 })
    ));
    let small = ArtifactBounds {
        bytes_max: 100,
        ..BOUNDS
    };
    assert!(matches!(
        digest(source.path(), small),
        Err(ArtifactError::TooLarge { max: 100 })
    ));
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().to_owned(), small).unwrap();
    let refused = store.unpack(packed(source.path()).as_slice()).unwrap_err();
    assert!(matches!(refused, ArtifactError::TooLarge { .. }));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn a_stream_cut_anywhere_stores_nothing() {
    let (_directory, store) = store();
    let stream = packed(sample().path());
    // After the last record are only its padding and the two blocks that end a tar archive.
    let end = stream.len() - 3 * 512;
    for cut in (0..end).step_by(311) {
        assert!(
            store.unpack(&stream[..cut]).is_err(),
            "cut at {cut} of {end}"
        );
    }
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_changed_byte_of_content_is_noticed() {
    let (_directory, store) = store();
    let mut stream = packed(sample().path());
    let at = stream
        .windows(9)
        .position(|window| window == b"#!/bin/sh")
        .unwrap();
    stream[at] = b'X';
    assert!(matches!(
        store.unpack(stream.as_slice()),
        Err(ArtifactError::Damaged)
    ));
}

type Entry<'a> = (EntryType, &'a [u8], &'a [u8]);

fn hostile(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, target) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o4777);
        header.set_size(0);
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path);
        fields.linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn hostile_streams_are_refused() {
    use EntryType::{
        Block, Char, Continuous, Directory, Fifo, GNULongName, Link, Regular, Symlink,
    };
    let cases: [&[Entry<'_>]; 14] = [
        &[(Regular, b"../evil", b"")],
        &[(Regular, b"/etc/evil", b"")],
        &[(Regular, b"a/../../evil", b"")],
        &[(Regular, b"./a", b"")],
        &[(Regular, b"a//b", b"")],
        &[(Regular, b"missing/parent", b"")],
        &[(Symlink, b"d", b"/tmp"), (Regular, b"d/evil", b"")],
        &[(Regular, b"a", b""), (Regular, b"a", b"")],
        &[(Directory, b"a", b""), (Link, b"a/b", b"/etc/passwd")],
        &[(Char, b"c", b"")],
        &[(Block, b"b", b"")],
        &[(Fifo, b"f", b"")],
        &[(Continuous, b"c", b"")],
        &[(GNULongName, b"l", b"")],
    ];
    let (directory, store) = store();
    for case in cases {
        let refused = store.unpack(hostile(case).as_slice()).unwrap_err();
        let typed = matches!(
            refused,
            ArtifactError::Path { .. } | ArtifactError::Special { .. }
        );
        assert!(typed, "{case:?}: {refused}");
    }
    assert!(store.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_a_crash_left_unfinished_is_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join(".unfinished-0/deep");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("file"), b"x").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o500)).unwrap();
    Store::open(directory.path().to_owned(), BOUNDS).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Where the kernel says that a path leads, by building it.
fn leads_outside(links: &BTreeMap<String, String>) -> bool {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("a/b/c/root");
    fs::create_dir_all(inner.join("d/e")).unwrap();
    for (path, target) in links {
        symlink(target, inner.join(path)).unwrap();
    }
    let root = inner.canonicalize().unwrap();
    links
        .keys()
        .any(|path| match inner.join(path).canonicalize() {
            Ok(place) => !place.starts_with(&root),
            Err(_) => false,
        })
}

proptest! {
    #[test]
    fn no_accepted_link_leads_outside(
        links in proptest::collection::btree_map("(d/|d/e/)?[lmn]", "((\\.\\.|d|e|l|m|n|\\.)/){0,4}(\\.\\.|d|e|l)", 1..5)
    ) {
        let mut tree = Tree::default();
        tree.insert(b"d".to_vec(), Node::Directory { mode: 0o755 });
        tree.insert(b"d/e".to_vec(), Node::Directory { mode: 0o755 });
        for (path, target) in &links {
            tree.insert(path.as_bytes().to_vec(), Node::Link { target: target.as_bytes().to_vec() });
        }
        if leads_outside(&links) {
            prop_assert!(tree.check_links().is_err());
        }
    }

    #[test]
    fn random_streams_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let (_directory, store) = store();
        prop_assert!(store.unpack(bytes.as_slice()).is_err());
    }
}
