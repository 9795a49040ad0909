//! The fields of one table of a migration file: each is asked for by name, and what nobody
//! asked for is refused.

use model::diagnostic::{Mistake, Mistakes, Span, did_you_mean};

use super::tree::{Node, Style};
use super::{Placed, Text};

/// The fields of one table.
pub(crate) struct Fields<'n, 'm, 't> {
    what: &'static str,
    span: Span,
    entries: &'n [(Placed<String>, Placed<Node>)],
    known: Vec<&'static str>,
    mistakes: &'m mut Mistakes<'t>,
}

/// What a field that `null` means something to says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The field is not there.
    Keep,
    /// It is `null`.
    Clear(Span),
    /// It has a value.
    Set(Text),
}

impl<'n, 'm, 't> Fields<'n, 'm, 't> {
    /// The fields of `node`, which must be a table; `what` names it in a sentence.
    pub(crate) fn of(
        what: &'static str,
        node: &'n Placed<Node>,
        mistakes: &'m mut Mistakes<'t>,
    ) -> Option<Self> {
        let Node::Map(entries) = &node.value else {
            let message = format!("{what} is {}", node.value.describe());
            mistakes.add(Mistake::new(node.span.clone(), message).expected("a table"));
            return None;
        };
        Some(Self {
            what,
            span: node.span.clone(),
            entries,
            known: Vec::new(),
            mistakes,
        })
    }

    /// Where mistakes go.
    pub(crate) fn mistakes(&mut self) -> &mut Mistakes<'t> {
        self.mistakes
    }

    /// The place of the whole table, as short as its first line.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// A field's node; `null` is as if it were not there.
    pub(crate) fn node(&mut self, name: &'static str) -> Option<&'n Placed<Node>> {
        self.raw(name).filter(|node| node.value != Node::Null)
    }

    fn raw(&mut self, name: &'static str) -> Option<&'n Placed<Node>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let found = self.entries.iter().find(|(key, _)| key.value == name);
        found.map(|(_, node)| node)
    }

    fn wrong(&mut self, name: &str, node: &Placed<Node>, expected: &str) {
        let message = format!("`{name}` is {}", node.value.describe());
        self.mistakes
            .add(Mistake::new(node.span.clone(), message).expected(expected));
    }

    fn missing(&mut self, name: &str) {
        let message = format!("{} has no `{name}`", self.what);
        let first = self.entries.first().map(|(key, _)| key.span.clone());
        let span = first.unwrap_or_else(|| self.span.clone());
        self.mistakes.add(Mistake::missing(span, message));
    }

    /// A text that may be absent.
    pub(crate) fn text_if(&mut self, name: &'static str) -> Option<Text> {
        let node = self.node(name)?;
        match &node.value {
            Node::Scalar(text, _) => Some(Placed {
                value: text.clone(),
                span: node.span.clone(),
            }),
            Node::Null | Node::List(_) | Node::Map(_) => {
                self.wrong(name, node, "a text");
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<Text> {
        if self.node(name).is_none() {
            self.missing(name);
            return None;
        }
        let text = self.text_if(name)?;
        if text.trim().is_empty() {
            let message = format!("`{name}` is empty");
            self.mistakes.add(Mistake::new(text.span, message));
            return None;
        }
        Some(text)
    }

    /// A text to which `null` means something.
    pub(crate) fn choice(&mut self, name: &'static str) -> Choice {
        match self.raw(name) {
            Some(node) if node.value == Node::Null => Choice::Clear(node.span.clone()),
            Some(_) => self.text_if(name).map_or(Choice::Keep, Choice::Set),
            None => Choice::Keep,
        }
    }

    /// `true` or `false`, if it is there.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<Placed<bool>> {
        let node = self.node(name)?;
        let value = match &node.value {
            Node::Scalar(text, Style::Plain) if text == "true" => Some(true),
            Node::Scalar(text, Style::Plain) if text == "false" => Some(false),
            Node::Null | Node::Scalar(..) | Node::List(_) | Node::Map(_) => None,
        };
        if value.is_none() {
            self.wrong(name, node, "`true` or `false`");
        }
        value.map(|value| Placed {
            value,
            span: node.span.clone(),
        })
    }

    /// Whether a flag is there and `true`.
    pub(crate) fn is_set(&mut self, name: &'static str) -> bool {
        self.flag(name).is_some_and(|flag| flag.value)
    }

    /// One of `valid`, in any case of its letters.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        valid: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text_if(name)?;
        let found = valid
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let words: Vec<String> = valid.iter().map(|(word, _)| format!("`{word}`")).collect();
            let hint = did_you_mean(&text, valid.iter().map(|(word, _)| *word));
            let message = format!("`{}` is no `{name}`", text.value);
            let mistake = Mistake::new(text.span, message).expected(words.join(", "));
            self.mistakes.add(mistake.hint_if(hint));
        }
        found.map(|(_, value)| *value)
    }

    /// A list that must be there.
    pub(crate) fn list(&mut self, name: &'static str) -> Option<Placed<&'n [Placed<Node>]>> {
        if self.node(name).is_none() {
            self.missing(name);
            return None;
        }
        self.list_if(name)
    }

    /// A list that may be absent.
    pub(crate) fn list_if(&mut self, name: &'static str) -> Option<Placed<&'n [Placed<Node>]>> {
        let node = self.node(name)?;
        let Node::List(items) = &node.value else {
            self.wrong(name, node, "a list");
            return None;
        };
        Some(Placed {
            value: items,
            span: node.span.clone(),
        })
    }

    /// A list of texts that may be absent, then empty.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<Text> {
        let Some(items) = self.list_if(name) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.value {
            match &item.value {
                Node::Scalar(text, _) => {
                    let span = item.span.clone();
                    texts.push(Placed {
                        value: text.clone(),
                        span,
                    });
                }
                Node::Null | Node::List(_) | Node::Map(_) => self.wrong(name, item, "texts"),
            }
        }
        texts
    }

    /// Texts by name that may be absent, then empty.
    pub(crate) fn named_texts(&mut self, name: &'static str) -> Vec<(Text, Text)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Node::Map(entries) = &node.value else {
            self.wrong(name, node, "a table of texts");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (key, value) in entries {
            match &value.value {
                Node::Scalar(text, _) => {
                    let span = value.span.clone();
                    texts.push((
                        key.clone(),
                        Placed {
                            value: text.clone(),
                            span,
                        },
                    ));
                }
                Node::Null | Node::List(_) | Node::Map(_) => self.wrong(name, value, "a text"),
            }
        }
        texts
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(self) -> &'m mut Mistakes<'t> {
        for (key, _) in self.entries {
            if !self.known.contains(&key.as_str()) {
                let hint = did_you_mean(key, self.known.iter().copied());
                let hint = hint.or_else(|| Some(format!("known: {}", self.known.join(", "))));
                let message = format!("{} has no field `{}`", self.what, key.value);
                self.mistakes
                    .add(Mistake::new(key.span.clone(), message).hint_if(hint));
            }
        }
        self.mistakes
    }
}
