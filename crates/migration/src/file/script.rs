//! Plain SQL files: a header that says their phase, and a part that takes them back.

use model::diagnostic::{Mistake, Mistakes, did_you_mean};

use super::{Migration, Placed, Text};
use crate::op::{Operation, Sql};

/// What begins every line that speaks to Gapless.
const MARK: &str = "gapless:";

/// Reads a file of SQL.
///
/// Its first line that is not blank is `-- gapless: expand` (compatible with what runs; done
/// before the rollout) or `-- gapless: contract` (done when the version before is gone). What
/// follows a line `-- gapless: down` takes it back.
pub(super) fn read(stem: &str, text: &str, mistakes: &mut Mistakes<'_>) -> Option<Migration> {
    let mut phase = None;
    let mut down = None;
    let mut begun = false;
    for (start, line) in lines(text) {
        let content = line.trim();
        let mark = content.strip_prefix("--").map(str::trim_start);
        let Some(word) = mark.and_then(|rest| rest.strip_prefix(MARK)).map(str::trim) else {
            begun |= !content.is_empty() && mark.is_none();
            continue;
        };
        let end = start + line.trim_end().len();
        match (word, phase) {
            ("expand" | "contract", None) if !begun => phase = Some((word == "contract", end)),
            ("down", Some(_)) if down.is_none() => down = Some((start, end)),
            (other, _) => mistakes.add(misplaced(other, start..end)),
        }
    }
    let Some((on_complete, body)) = phase else {
        let message = "the file does not say when it may run";
        let mistake = Mistake::missing(0..text.lines().next().map_or(0, str::len), message);
        let hint = "begin it with `-- gapless: expand` (works with the running version) or `-- gapless: contract` (run when that is gone)";
        mistakes.add(mistake.hint(hint));
        return None;
    };
    let up = part(text, body..down.map_or(text.len(), |(start, _)| start));
    let down = down.map(|(_, end)| part(text, end..text.len()));
    if up.value.is_empty() {
        mistakes.add(Mistake::new(up.span.clone(), "the file has no statement"));
        return None;
    }
    let span = up.span.clone();
    let operation = Operation::Sql(Sql {
        up,
        down: down.filter(|d| !d.is_empty()),
        on_complete,
    });
    Some(Migration {
        name: stem.to_owned(),
        version_schema: None,
        operations: vec![Placed {
            value: operation,
            span,
        }],
        text: text.to_owned(),
    })
}

fn misplaced(word: &str, span: std::ops::Range<usize>) -> Mistake {
    let words = ["expand", "contract", "down"];
    let hint = did_you_mean(word, words).filter(|_| !words.contains(&word));
    let expected = "`expand` or `contract` once, before any statement, then at most one `down`";
    Mistake::new(span, format!("`{word}` cannot stand here"))
        .expected(expected)
        .hint_if(hint)
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line)
    })
}

fn part(text: &str, span: std::ops::Range<usize>) -> Text {
    let whole = &text[span.clone()];
    let start = span.start + (whole.len() - whole.trim_start().len());
    let value = whole.trim().to_owned();
    let span = start..start + value.len();
    Placed { value, span }
}
