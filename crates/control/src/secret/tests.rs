use super::*;

fn value(text: &str) -> SecretValue {
    SecretValue::try_new(text.as_bytes().to_vec()).unwrap()
}

fn opened() -> (tempfile::TempDir, Store, Secrets) {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path()).unwrap();
    store.take_control().unwrap();
    let secrets = Secrets::open(state.path(), &store).unwrap();
    (state, store, secrets)
}

#[test]
fn a_release_keeps_its_version_until_that_is_retired() {
    let (_state, mut store, secrets) = opened();
    let set = |store: &mut Store, text, retire| {
        secrets.set(store, ("TOKEN", &value(text)), retire).unwrap()
    };
    assert_eq!(set(&mut store, "one", Retire::None), 1);
    assert_eq!(set(&mut store, "two", Retire::None), 2);
    let read = |store: &Store, version| secrets.value(store, "TOKEN", version).unwrap();
    assert_eq!(read(&store, 1).expose(), "one");
    assert_eq!(set(&mut store, "three", Retire::Older), 3);
    assert_eq!(read(&store, 1).expose(), "three");
    assert_eq!(read(&store, 2).expose(), "three");
    assert_eq!(secrets.newest(&store, "TOKEN").unwrap().expose(), "three");
}

#[test]
fn numbers_are_not_given_again_after_a_removal() {
    let (_state, mut store, secrets) = opened();
    secrets
        .set(&mut store, ("A", &value("x")), Retire::None)
        .unwrap();
    assert!(store.remove_secret("A").unwrap());
    assert!(!store.remove_secret("A").unwrap());
    let missing = secrets.value(&store, "A", 1).unwrap_err();
    assert!(matches!(missing, SecretError::Missing { .. }));
    let again = secrets.set(&mut store, ("A", &value("y")), Retire::None);
    assert_eq!(again.unwrap(), 2);
}

#[test]
fn neither_the_database_nor_debug_output_shows_a_value() {
    let (state, mut store, secrets) = opened();
    let canary = "canary-7c1f0e55";
    secrets
        .set(&mut store, ("A", &value(canary)), Retire::None)
        .unwrap();
    assert!(!format!("{:?} {secrets:?}", value(canary)).contains(canary));
    for file in std::fs::read_dir(state.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(canary.len()).any(|w| w == canary.as_bytes()));
    }
}

#[test]
fn another_key_or_a_lost_or_public_key_is_named() {
    let (state, mut store, secrets) = opened();
    secrets
        .set(&mut store, ("A", &value("x")), Retire::None)
        .unwrap();
    let key = state.path().join(KEY_FILE);
    std::fs::write(&key, [7; KEY_BYTES]).unwrap();
    let other = Secrets::open(state.path(), &store).unwrap();
    let error = other.value(&store, "A", 1).unwrap_err();
    assert!(matches!(error, SecretError::Sealed { .. }), "{error}");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = crate::chain(&Secrets::open(state.path(), &store).unwrap_err());
    assert!(error.contains("chmod 600"), "{error}");
    std::fs::remove_file(&key).unwrap();
    let error = crate::chain(&Secrets::open(state.path(), &store).unwrap_err());
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn names_and_values_outside_the_rules_are_refused() {
    let (_state, mut store, secrets) = opened();
    for name in ["", "9A", "A-B", "A=B", &"A".repeat(129)] {
        let refused = secrets.set(&mut store, (name, &value("x")), Retire::None);
        assert!(matches!(refused, Err(SecretError::Name(_))), "{name}");
    }
    for bytes in [vec![], vec![0xff], b"a\0b".to_vec(), vec![b'x'; 65_537]] {
        assert!(SecretValue::try_new(bytes).is_err());
    }
}
