//! Rules about manifests: the wall between deciding and doing, and few dependencies.

use std::collections::BTreeSet;
use std::fs;

use crate::run::root;

/// Rooms that decide: no I/O, and only these dependencies on other rooms.
const PURE: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("config", &["model"]),
    ("verdict", &["model"]),
    ("rollout", &["model", "verdict"]),
    ("fleet", &["model"]),
    ("traffic", &["model"]),
    ("http1", &[]),
    ("migration", &["model"]),
    (
        "engine",
        &["model", "verdict", "rollout", "fleet", "traffic"],
    ),
];

/// What a pure room may take from outside; everything here is a function of its arguments.
const PURE_OUTSIDE: [&str; 7] = [
    "httparse",
    "memchr",
    "percent-encoding",
    "serde",
    "serde_json",
    "strsim",
    "thiserror",
];

/// More of what only the configuration room may take.
const CONFIG_OUTSIDE: [&str; 1] = ["toml"];

/// More of what only the migration room may take: its files' form, and their checksum.
const MIGRATION_OUTSIDE: [&str; 2] = ["saphyr-parser", "sha2"];

/// Pairs that must not know each other: (who, whom).
const WALLS: [(&str, &str); 5] = [
    ("control", "proxy"),
    ("server", "proxy"),
    ("proxy", "control"),
    ("supervisor", "model"),
    ("runtime", "control"),
];

const PURE_DEPENDENCIES_MAX: usize = 6;
const DIRECT_DEPENDENCIES_MAX: usize = 60;

/// Checks every manifest.
pub(super) fn check() -> Result<Vec<String>, String> {
    let mut breaches = Vec::new();
    let mut direct = BTreeSet::new();
    let rooms: BTreeSet<String> = rooms()?;
    for room in &rooms {
        let dependencies = dependencies(room)?;
        direct.extend(
            dependencies
                .iter()
                .filter(|name| !rooms.contains(*name))
                .cloned(),
        );
        if let Some((_, allowed)) = PURE.iter().find(|(name, _)| name == room) {
            breaches.extend(purity(room, allowed, &dependencies, &rooms));
        }
        let crossed = WALLS
            .iter()
            .filter(|(who, whom)| who == room && dependencies.contains(*whom));
        breaches.extend(crossed.map(|(who, whom)| format!("room `{who}` must not know `{whom}`")));
        if dependencies.contains("sim") {
            breaches.push(format!(
                "room `{room}` depends on `sim`, which is for development only"
            ));
        }
    }
    if direct.len() > DIRECT_DEPENDENCIES_MAX {
        breaches.push(format!(
            "{} direct dependencies are more than {DIRECT_DEPENDENCIES_MAX}",
            direct.len()
        ));
    }
    Ok(breaches)
}

fn purity(
    room: &str,
    allowed: &[&str],
    has: &BTreeSet<String>,
    rooms: &BTreeSet<String>,
) -> Vec<String> {
    let mut breaches = Vec::new();
    for name in has {
        let own: &[&str] = match room {
            "config" => &CONFIG_OUTSIDE,
            "migration" => &MIGRATION_OUTSIDE,
            _ => &[],
        };
        let fine = match rooms.contains(name) {
            true => allowed.contains(&name.as_str()),
            false => own.contains(&name.as_str()) || PURE_OUTSIDE.contains(&name.as_str()),
        };
        if !fine {
            breaches.push(format!("pure room `{room}` must not depend on `{name}`"));
        }
    }
    let outside = has.iter().filter(|name| !rooms.contains(*name)).count();
    if outside > PURE_DEPENDENCIES_MAX {
        breaches.push(format!("pure room `{room}` has {outside} outside dependencies, more than {PURE_DEPENDENCIES_MAX}"));
    }
    let link = root().join("crates").join(room).join("clippy.toml");
    if fs::read_link(&link).ok().as_deref() != Some("../../lints/pure.toml".as_ref()) {
        breaches.push(format!(
            "pure room `{room}` lacks the link clippy.toml -> ../../lints/pure.toml"
        ));
    }
    breaches
}

/// The names of all rooms, as folders of `crates/`.
pub(super) fn rooms() -> Result<BTreeSet<String>, String> {
    let folder = root().join("crates");
    let entries = fs::read_dir(&folder).map_err(|error| format!("crates/: {error}"))?;
    let names = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir());
    Ok(names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn dependencies(room: &str) -> Result<BTreeSet<String>, String> {
    let path = root().join("crates").join(room).join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest: toml::Table = text
        .parse()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    Ok(table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default())
}
