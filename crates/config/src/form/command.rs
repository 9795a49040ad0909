//! Splits a command line into words, and refuses what only a shell would understand.

use std::ops::Range;

/// A word of a command line and where it stood in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word without quotes; a quoted dollar sign is doubled, so that it stays one.
    pub(crate) text: String,
    /// Its bytes in the command line, quotes included.
    pub(crate) range: Range<usize>,
}

/// Why a command line cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no word in it.
    Empty,
    /// A quote that is opened here is never closed.
    Unbalanced(Range<usize>),
    /// Something that only a shell understands.
    Shell(Range<usize>),
    /// An assignment before the program.
    Assignment(Range<usize>),
}

/// Splits `text` at blanks; `'…'`, `"…"` and `\` protect what they protect in a shell.
pub(crate) fn split(text: &str) -> Result<Vec<Word>, Refused> {
    let mut splitter = Splitter {
        text,
        at: 0,
        word: None,
        words: Vec::new(),
    };
    while let Some(next) = splitter.peek() {
        splitter.step(next)?;
    }
    splitter.end_word();
    let Some(first) = splitter.words.first() else {
        return Err(Refused::Empty);
    };
    if is_assignment(&text[first.range.clone()]) {
        return Err(Refused::Assignment(first.range.clone()));
    }
    Ok(splitter.words)
}

struct Splitter<'a> {
    text: &'a str,
    at: usize,
    word: Option<Word>,
    words: Vec<Word>,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn step(&mut self, next: char) -> Result<(), Refused> {
        let begin = self.at;
        self.take();
        match next {
            ' ' | '\t' | '\n' | '\r' => self.end_word(),
            '\'' => self.single_quoted(begin)?,
            '"' => self.double_quoted(begin)?,
            '\\' => match self.take() {
                None => return Err(Refused::Unbalanced(begin..self.at)),
                Some('\n') => {}
                Some(literal) => self.push(literal, begin),
            },
            '&' | '|' | ';' | '<' | '>' | '(' | ')' | '`' | '*' => {
                return Err(Refused::Shell(self.operator(begin)));
            }
            '~' | '#' if self.word.is_none() => return Err(Refused::Shell(begin..self.at)),
            '$' if self.peek() == Some('(') => {
                return Err(Refused::Shell(begin..self.at + 1));
            }
            '$' => self.word(begin).text.push('$'),
            literal => self.push(literal, begin),
        }
        Ok(())
    }

    fn single_quoted(&mut self, begin: usize) -> Result<(), Refused> {
        self.word(begin);
        loop {
            match self.take() {
                None => return Err(Refused::Unbalanced(begin..begin + 1)),
                Some('\'') => return Ok(()),
                Some(literal) => self.push(literal, begin),
            }
        }
    }

    fn double_quoted(&mut self, begin: usize) -> Result<(), Refused> {
        self.word(begin);
        loop {
            match self.take() {
                None => return Err(Refused::Unbalanced(begin..begin + 1)),
                Some('"') => return Ok(()),
                Some('\\') => self.escaped_in_double_quotes(begin),
                Some('$') => self.word(begin).text.push('$'),
                Some(literal) => self.push(literal, begin),
            }
        }
    }

    fn escaped_in_double_quotes(&mut self, begin: usize) {
        match self.peek() {
            Some('\n') => {
                self.take();
            }
            Some(literal @ ('$' | '`' | '"' | '\\')) => {
                self.take();
                self.push(literal, begin);
            }
            Some(_) | None => self.push('\\', begin),
        }
    }

    /// The present word, begun at `begin` if there is none.
    fn word(&mut self, begin: usize) -> &mut Word {
        self.word.get_or_insert_with(|| Word {
            text: String::new(),
            range: begin..begin,
        })
    }

    /// Adds a character that stands for itself.
    fn push(&mut self, literal: char, begin: usize) {
        let text = &mut self.word(begin).text;
        text.push(literal);
        if literal == '$' {
            text.push('$');
        }
    }

    fn end_word(&mut self) {
        if let Some(mut word) = self.word.take() {
            let begin = word.range.start;
            let end = begin + self.text[begin..self.at].trim_end().len();
            word.range = begin..end;
            self.words.push(word);
        }
    }

    /// The whole operator that begins at `begin`.
    fn operator(&self, begin: usize) -> Range<usize> {
        let is_operator = |c: char| "&|;<>".contains(c);
        let more = self.text[self.at..].chars().take_while(|&c| is_operator(c));
        begin..self.at + more.count()
    }
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else {
        return false;
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, Refused> {
        split(text).map(|words| words.into_iter().map(|word| word.text).collect())
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (text, expected) in [
            ("./web", vec!["./web"]),
            (
                "  ./web \t --port  $PORT\n",
                vec!["./web", "--port", "$PORT"],
            ),
            ("a 'b c' \"d e\"f", vec!["a", "b c", "d ef"]),
            ("a '' \"\"", vec!["a", "", ""]),
            (r"a b\ c \'", vec!["a", "b c", "'"]),
            (r#"a "\"x\" \n""#, vec!["a", r#""x" \n"#]),
            ("a --x='1;2' \"b|c\"", vec!["a", "--x=1;2", "b|c"]),
            ("a \\\n b", vec!["a", "b"]),
            ("a x~ b#c é", vec!["a", "x~", "b#c", "é"]),
            ("a B=c", vec!["a", "B=c"]),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(words(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_protected_dollar_sign_stays_one() {
        let expected = ["a", "$B", "$$B", "$B", "$$B", "$$B"].map(str::to_owned);
        assert_eq!(words(r#"a $B '$B' "$B" "\$B" \$B"#), Ok(expected.to_vec()));
    }

    #[test]
    fn words_know_where_they_stood() {
        let words = split("é 'b c' $D").unwrap();
        let ranges: Vec<_> = words.into_iter().map(|word| word.range).collect();
        assert_eq!(ranges, [0..2, 3..8, 9..11]);
    }

    #[test]
    fn open_quotes_are_refused_where_they_begin() {
        for (text, at) in [
            ("a 'b", 2..3),
            ("a \"b'", 2..3),
            ("a b'c\"", 3..4),
            ("a \\", 2..3),
        ] {
            assert_eq!(words(text), Err(Refused::Unbalanced(at)), "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for (text, at) in [
            ("a && b", 2..4),
            ("a | b", 2..3),
            ("a > b", 2..3),
            ("a 2>&1", 3..5),
            ("a; b", 1..2),
            ("a `b`", 2..3),
            ("a $(b)", 2..4),
            ("a *.jar", 2..3),
            ("~/bin/a", 0..1),
            ("a # b", 2..3),
        ] {
            assert_eq!(words(text), Err(Refused::Shell(at)), "{text}");
        }
        assert_eq!(words("A=1 b"), Err(Refused::Assignment(0..3)));
    }

    #[test]
    fn nothing_is_no_command() {
        for text in ["", "  ", "\n\t"] {
            assert_eq!(words(text), Err(Refused::Empty), "{text:?}");
        }
    }
}
