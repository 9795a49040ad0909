//! Any text gets a project or a report, and every span lies within it.

use proptest::prelude::*;

use super::{EVERYTHING, LEAST};
use crate::{ExplainError, explain, init_file, parse};

/// Pieces that files are made of, and some that they are not.
const PIECES: &[&str] = &[
    "=",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    ".",
    "\n",
    "#",
    "$",
    "é",
    "\u{0}",
    "\r",
    "0",
    "-1",
    "1e9",
    "true",
    "false",
    "\"\"",
    "\"0s\"",
    "[]",
    "{}",
    "[service.web]",
    "[service]",
    "\"5%\"",
    "version",
    "service.",
    "a = 1\n",
    "\"\"\"",
    "1979-05-27",
    "inf",
    "0x10",
    "\u{feff}",
    "[[service.web.rollout.steps]]\n",
    "steps",
    "health",
    "\t",
    "🦀",
    "\\u0000",
    "\\",
];

fn assert_sound(text: &str) {
    let Err(report) = parse(text) else {
        return;
    };
    assert!(!report.diagnostics.is_empty(), "refused without a reason");
    for diagnostic in &report.diagnostics {
        let span = &diagnostic.span;
        assert!(text.get(span.clone()).is_some(), "{diagnostic:?}");
        assert!(diagnostic.line <= text.matches('\n').count() + 1);
        if let Some(related) = &diagnostic.related {
            assert!(text.get(related.span.clone()).is_some(), "{diagnostic:?}");
        }
    }
    let rendered = report.render("gapless.toml", text);
    let shown = rendered.matches("error: ").count();
    assert!(shown >= report.diagnostics.len(), "{rendered}");
    assert_eq!(explain(text, None), Err(ExplainError::Invalid(report)));
}

/// A text with pieces put in or taken out at random places.
fn mutated(base: &'static str) -> impl Strategy<Value = String> {
    let place = any::<prop::sample::Index>();
    let change = (place, 0..12_usize, prop::sample::select(PIECES));
    prop::collection::vec(change, 1..5).prop_map(move |changes| {
        let mut chars: Vec<char> = base.chars().collect();
        for (place, removed, piece) in changes {
            let at = place.index(chars.len() + 1);
            let end = (at + removed).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_files_never_panic(text in prop_oneof![mutated(EVERYTHING), mutated(LEAST)]) {
        assert_sound(&text);
    }

    #[test]
    fn arbitrary_texts_never_panic(text in "\\PC{0,80}|[ -~\\n]{0,120}") {
        assert_sound(&text);
    }

    #[test]
    fn cut_files_never_panic(at in any::<prop::sample::Index>()) {
        let chars: Vec<char> = EVERYTHING.chars().collect();
        let text: String = chars[..at.index(chars.len())].iter().collect();
        assert_sound(&text);
    }

    #[test]
    fn init_writes_what_is_read_back(
        artifact in "[^\\x00]{1,20}",
        words in prop::collection::vec("[^\\x00$]{1,12}", 1..5),
        health in "/[a-z/]{0,10}",
    ) {
        let detected = crate::Detected { artifact, run: words, health };
        let text = init_file("shop", &detected);
        let project = parse(&text).map_err(|report| TestCaseError::fail(report.render("t", &text)))?;
        let web = project.services.values().next().expect("one service");
        prop_assert_eq!(&web.template.run.0, &detected.run);
        prop_assert_eq!(&web.artifact, &detected.artifact);
    }
}

#[test]
fn texts_that_are_too_long_are_refused_unread() {
    let text = "#".repeat(super::super::BYTES_MAX + 1);
    super::refused_with(&text, "the configuration has 262145 bytes");
}

#[test]
fn deep_nesting_is_refused() {
    assert_sound(&format!("a = {}", "[".repeat(10_000)));
    assert_sound(&format!("a = {}", "{a=".repeat(10_000)));
}
