//! A person's own SQL: run as it is, in a migration of its own.

use model::diagnostic::{Mistake, Span};

use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::plan::{Cost, Note, NoteLevel, Run, Step};
use crate::sql::{TokenKind, statements, tokens};

/// A person's own SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// What it does.
    pub up: Text,
    /// What takes it back.
    pub down: Option<Text>,
    /// Whether it waits until no older version is left.
    pub on_complete: bool,
}

impl Sql {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (up, down) = (fields.text("up"), fields.text_if("down"));
        let on_complete = fields.is_set("onComplete");
        if let (Some(down), true) = (&down, on_complete) {
            let message = "what runs at contract cannot be taken back";
            let hint = "leave `down` or `onComplete` out";
            fields
                .mistakes()
                .add(Mistake::new(down.span.clone(), message).hint(hint));
        }
        Some(Self {
            up: up?,
            down,
            on_complete,
        })
    }
}

impl Sql {
    pub(super) fn plan(&self, draft: &mut Draft, (span, count): (&Span, usize)) {
        if count > 1 && !self.on_complete {
            let message = "SQL stands in a migration of its own: nobody knows what the operations beside it would meet";
            draft.refuse(span, message);
            return;
        }
        let steps = steps(draft, &self.up, "run SQL of the migration");
        match self.on_complete {
            true => draft.tail.extend(steps),
            false => {
                draft.creates.extend(steps);
                draft.reread = true;
            }
        }
        if let Some(down) = &self.down {
            let mut back = steps_back(draft, down);
            // Undone in reverse, so that the file's order is kept.
            back.reverse();
            draft.undo.extend(back);
        } else if !self.on_complete {
            let text = "an abort leaves what its SQL did: it has no `down`".to_owned();
            draft.notes.push(Note {
                level: NoteLevel::Warning,
                table: None,
                text,
            });
        }
    }
}

fn steps_back(draft: &mut Draft, down: &Text) -> Vec<Step> {
    steps(draft, down, "take SQL of the migration back")
}

/// The steps of a script: its statements together, but alone those that refuse transactions.
fn steps(draft: &mut Draft, script: &Text, title: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut together: Vec<String> = Vec::new();
    for range in statements(script) {
        let statement = script[range].to_owned();
        let words = tokens(&statement);
        if words.iter().any(|token| token.kind == TokenKind::Open) {
            draft.refuse(&script.span, "the SQL ends within a text, name or comment");
        }
        let starts = |word: &str| words.first().is_some_and(|token| token.is(word));
        if ["begin", "commit", "rollback", "savepoint"]
            .into_iter()
            .any(starts)
            || starts("start") && words.get(1).is_some_and(|token| token.is("transaction"))
        {
            let message = "a migration is a transaction already: leave BEGIN and COMMIT out";
            draft.refuse(&script.span, message);
        }
        let alone = words.iter().any(|token| token.is("concurrently")) || starts("vacuum");
        if alone {
            steps.extend(own_step(title, std::mem::take(&mut together)));
            steps.push(Step {
                run: Run::Alone {
                    done: "SELECT false".to_owned(),
                    clear: Vec::new(),
                },
                ..own(title, vec![statement])
            });
        } else {
            together.push(statement);
        }
    }
    steps.extend(own_step(title, together));
    steps
}

fn own_step(title: &str, statements: Vec<String>) -> Option<Step> {
    (!statements.is_empty()).then(|| own(title, statements))
}

fn own(title: &str, statements: Vec<String>) -> Step {
    Step {
        title: title.to_owned(),
        statements,
        run: Run::Together,
        locks: Vec::new(),
        cost: Cost::Unknown,
        why: "nobody but its author knows: see `gapless migrate lint`".to_owned(),
    }
}
