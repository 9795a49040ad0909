//! The promises of the configuration's reader, and inputs that come close to being understood.

use crate::support::seed::Seed;

/// A configuration with every key.
pub(crate) const EVERYTHING: &str = include_str!("../crates/config/src/tests/everything.toml");

/// Whatever is written is understood and can be explained, or every mistake has a place in it.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match config::parse(&text) {
        Ok(_) => {
            let explained = config::explain(&text, None).expect("it was understood");
            assert!(!explained.is_empty());
        }
        Err(report) => {
            assert!(!report.diagnostics.is_empty(), "a refusal without a mistake");
            for mistake in &report.diagnostics {
                assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
                assert!(!mistake.message.is_empty() && mistake.line > 0);
            }
        }
    }
}

/// Drops, doubles or swaps lines, or puts a word of one place to another.
pub(crate) fn mutate(seed: &mut Seed, bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return EVERYTHING.as_bytes().to_vec();
    }
    let (one, other) = (at(seed, lines.len()), at(seed, lines.len()));
    match seed.below(4) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(one, lines[other]),
        2 => lines.swap(one, other),
        _ => return moved_word(&lines, (one, other), seed).into_bytes(),
    }
    lines.concat().into_bytes()
}

fn moved_word(lines: &[&str], (one, other): (usize, usize), seed: &mut Seed) -> String {
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let (mut to, from) = (words(lines[one]), words(lines[other]));
    let place = at(seed, to.len());
    to[place].clone_from(&from[at(seed, from.len())]);
    let mut lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    lines[one] = to.join(" ");
    lines.concat()
}

fn at(seed: &mut Seed, length: usize) -> usize {
    seed.below(length)
}
