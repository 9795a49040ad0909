//! The declarations themselves.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::string::string_regex;
use regex::Regex;

use super::EVERYTHING;
use crate::declare::{HEADERS, Kind, PROJECT, Presence, Section};
use crate::form::{Form, Syntax};
use crate::value::{Table, Value};

fn sections() -> impl Iterator<Item = &'static Section> {
    HEADERS.iter().map(|(_, section)| *section)
}

fn forms() -> Vec<&'static Form> {
    let fields = sections().flat_map(|section| section.fields);
    let forms = fields.filter_map(|field| match field.kind {
        Kind::Text(form) | Kind::List(form) | Kind::Map(form) | Kind::Either(form, _) => Some(form),
        Kind::Flag
        | Kind::Present
        | Kind::Whole { .. }
        | Kind::Decimal { .. }
        | Kind::Count
        | Kind::Port
        | Kind::Command
        | Kind::Table(_)
        | Kind::Tables(_)
        | Kind::Services(_)
        | Kind::Databases(_) => None,
    });
    forms.collect()
}

#[test]
fn every_section_is_found_by_a_user_who_looks_for_its_keys() {
    fn collect(section: &'static Section, found: &mut BTreeSet<Vec<&'static str>>) {
        found.insert(section.names().collect());
        for field in section.fields {
            if let Kind::Table(inner)
            | Kind::Either(_, inner)
            | Kind::Tables(inner)
            | Kind::Services(inner)
            | Kind::Databases(inner) = field.kind
            {
                collect(inner, found);
            }
        }
    }
    let mut reachable = BTreeSet::new();
    collect(&PROJECT, &mut reachable);
    let listed: BTreeSet<Vec<_>> = sections()
        .map(|section| section.names().collect())
        .collect();
    assert_eq!(listed, reachable);
}

#[test]
fn every_key_is_declared_once_and_described_by_a_sentence() {
    for section in sections() {
        let names: BTreeSet<_> = section.names().collect();
        assert_eq!(names.len(), section.fields.len());
        for field in section.fields {
            let description = field.description;
            assert!(description.ends_with('.'), "{}: {description}", field.name);
            if let Presence::Optional(meaning) | Presence::Default(meaning) = field.presence {
                assert!(!meaning.is_empty(), "{}", field.name);
            }
        }
        for name in section.one_of.iter().copied().flatten() {
            assert!(section.field(name).is_some(), "{name}");
        }
    }
}

#[test]
fn the_full_example_sets_every_key() {
    fn collect(table: &Table, unset: &mut BTreeSet<(&'static str, &'static str)>) {
        for (name, entry) in &table.entries {
            if entry.written.is_some() {
                unset.remove(&(table.section.description, name));
            }
            match &entry.value {
                Some(Value::Table(inner)) => collect(inner, unset),
                Some(Value::Tables(inner)) => inner.iter().for_each(|t| collect(t, unset)),
                Some(Value::Services(inner)) => inner.iter().for_each(|(_, t)| collect(t, unset)),
                Some(_) | None => {}
            }
        }
    }
    let mut unset: BTreeSet<_> = sections()
        .flat_map(|section| section.names().map(|name| (section.description, name)))
        .collect();
    let (_, table) = crate::check(EVERYTHING).unwrap();
    collect(&table, &mut unset);
    assert_eq!(unset, BTreeSet::new());
}

/// Texts near the edge of what some form accepts.
const NEAR: &[&str] = &[
    "",
    "0s",
    "00s",
    "0ms",
    "007m",
    "8760h",
    "8761h",
    "30",
    "0%",
    "100%",
    "100.00%",
    "0.5%",
    "5.%",
    "1B",
    "0B",
    "64MB",
    "1GiB",
    "01KB",
    "1kB",
    "127.0.0.1:80",
    "[::1]:80",
    "[fe80::1%3]:80",
    "1-2",
    "01-02",
    "2-1",
    "a",
    "a-",
    "web-1",
    "A_1",
    "1A",
    "header:X-A",
    "header:",
    "cookie",
    "x y",
    " x",
    "é",
    "/",
    "//",
    "/a",
    "/a/",
    "/a b",
    "/a?b",
    "/a*",
    "/~a;b=c,d",
    "*.a.b",
    "a.b",
    "A.B",
    "a..b",
    "-a",
    "a_b",
    "secret:A",
    "secret:a-b",
    "SIGTERM",
    "POST",
    "body.items[].price",
    "header etag",
    "800ms",
    "10.0.0.0/8",
    "round_robin",
    "hash:cookie:a",
    "x\ny",
    "/a/b/c/",
];

fn assert_pattern_covers(form: &Form, text: &str) {
    let accepted = form.parse(text).is_ok();
    let covered = match form.syntax {
        Syntax::Parsed { pattern, .. } => Regex::new(pattern).unwrap().is_match(text),
        Syntax::Choices(choices) => choices.iter().any(|(name, _)| *name == text),
    };
    assert!(
        !accepted || covered,
        "{text:?} is accepted, but `{}` is not it",
        form.expected
    );
}

#[test]
fn patterns_cover_what_is_accepted() {
    for form in forms() {
        NEAR.iter()
            .for_each(|text| assert_pattern_covers(form, text));
        if let Syntax::Parsed { pattern, .. } = form.syntax {
            let regex = Regex::new(pattern).unwrap();
            let both = |text: &&&str| regex.is_match(text) && form.parse(text).is_ok();
            assert!(NEAR.iter().any(|text| both(&text)), "{pattern}");
        }
    }
}

proptest! {
    #[test]
    fn no_form_panics_or_accepts_beyond_its_pattern(text in "[ -~é\n]{0,24}") {
        forms().into_iter().for_each(|form| assert_pattern_covers(form, &text));
    }

    #[test]
    fn texts_made_from_patterns_are_judged_without_panic(
        (form, text) in prop::sample::select(forms()).prop_flat_map(|form| {
            let pattern = match form.syntax {
                Syntax::Parsed { pattern, .. } => pattern.trim_matches(['^', '$']),
                Syntax::Choices(_) => "[a-z_]+",
            };
            (Just(form), string_regex(pattern).unwrap())
        })
    ) {
        assert_pattern_covers(form, &text);
    }
}
