//! YAML (and so JSON) as a tree whose every value knows its place.

use model::diagnostic::{Mistake, Mistakes, Span};
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::Placed;

/// The deepest nesting of values; migrations need six.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing.
    Null,
    /// One value; whether it stood without quotes.
    Scalar(String, Style),
    /// A list.
    List(Vec<Placed<Node>>),
    /// Names with values, in order.
    Map(Vec<(Placed<String>, Placed<Node>)>),
}

/// Whether a value stood in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// It did not, and may be a number or `true`.
    Plain,
    /// It did, and is a text.
    Quoted,
}

impl Node {
    /// What it is, in a sentence.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(..) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a table",
        }
    }
}

/// The only document of `text`.
pub(crate) fn parse(text: &str, mistakes: &mut Mistakes<'_>) -> Option<Placed<Node>> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let mut events = Events {
        parser: Parser::new_from_str(text),
        offsets,
        end: text.len(),
    };
    match events.document() {
        Ok(node) => Some(node),
        Err((span, message)) => {
            mistakes.add(Mistake::new(span, message));
            None
        }
    }
}

type Problem = (Span, String);

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The byte at which each character begins.
    offsets: Vec<usize>,
    end: usize,
}

impl<'a> Events<'a> {
    fn byte(&self, character: usize) -> usize {
        self.offsets.get(character).copied().unwrap_or(self.end)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let span = self.byte(span.start.index())..self.byte(span.end.index());
                Ok((event, span))
            }
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err((at..at, format!("this is not YAML: {}", error.info())))
            }
            None => Err((
                self.end..self.end,
                "this is not YAML: it has no end".to_owned(),
            )),
        }
    }

    fn document(&mut self) -> Result<Placed<Node>, Problem> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd | Event::DocumentEnd => {
                    return Err((span, "the file is empty".to_owned()));
                }
                event => {
                    let node = self.node(event, span, 0)?;
                    self.rest()?;
                    return Ok(node);
                }
            }
        }
    }

    /// Nothing may follow the document.
    fn rest(&mut self) -> Result<(), Problem> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), span) => {
                    return Err((
                        span,
                        "a migration is one document, this is a second".to_owned(),
                    ));
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
    ) -> Result<Placed<Node>, Problem> {
        if depth > DEPTH_MAX {
            return Err((span, format!("this is nested more than {DEPTH_MAX} times")));
        }
        match event {
            Event::Scalar(text, style, _, _) => Ok(scalar(&text, style, span)),
            Event::SequenceStart(..) => self.list(span, depth),
            Event::MappingStart(..) => self.map(span, depth),
            Event::Alias(_) => Err((
                span,
                "anchors and aliases are not for migrations".to_owned(),
            )),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Err((span, "a value is missing".to_owned())),
        }
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Placed<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let end = items
                    .last()
                    .map_or(span.end, |last: &Placed<Node>| last.span.end);
                let span = start.start..end.max(start.end);
                return Ok(Placed {
                    value: Node::List(items),
                    span,
                });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Placed<Node>, Problem> {
        let mut entries: Vec<(Placed<String>, Placed<Node>)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                let end = entries.last().map_or(span.end, |(_, last)| last.span.end);
                let span = start.start..end.max(start.end);
                return Ok(Placed {
                    value: Node::Map(entries),
                    span,
                });
            }
            let key = self.node(event, span, depth + 1)?;
            let Node::Scalar(name, _) = key.value else {
                return Err((key.span, "a name was expected".to_owned()));
            };
            if entries.iter().any(|(other, _)| other.value == name) {
                return Err((key.span, format!("`{name}` is there twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((
                Placed {
                    value: name,
                    span: key.span,
                },
                value,
            ));
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, span: Span) -> Placed<Node> {
    let value = match (style, text) {
        (ScalarStyle::Plain, "" | "null" | "Null" | "NULL" | "~") => Node::Null,
        (ScalarStyle::Plain, text) => Node::Scalar(text.to_owned(), Style::Plain),
        (
            ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded,
            text,
        ) => Node::Scalar(text.to_owned(), Style::Quoted),
    };
    Placed { value, span }
}
