//! The lexical structure of PostgreSQL's SQL: enough to find names, and where statements end.

use std::ops::Range;

/// One token; white space and comments are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: TokenKind,
    /// Its bytes in the text.
    pub(crate) span: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or keyword without quotes, in small letters as PostgreSQL takes it.
    Word(String),
    /// A name in quotes.
    Quoted(String),
    /// A text, however it is quoted.
    Text,
    /// A number or parameter.
    Number,
    /// Any other character; `::` is one.
    Sign(char),
    /// `::`.
    Cast,
    /// Something that begins and never ends, such as a text without its closing quote.
    Open,
}

impl Token {
    /// Whether this is `word`, which must be in small letters, without quotes.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(own) if own == word)
    }

    /// Whether this is that character.
    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.kind == TokenKind::Sign(sign)
    }

    /// The name, with or without quotes.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(name) | TokenKind::Quoted(name) => Some(name),
            TokenKind::Text
            | TokenKind::Number
            | TokenKind::Sign(_)
            | TokenKind::Cast
            | TokenKind::Open => None,
        }
    }
}

/// All tokens of `text`.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut scan = Scan { text, at: 0 };
    let mut all = Vec::new();
    while let Some(token) = scan.next() {
        all.push(token);
    }
    all
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<Token> {
        if let Some(open) = self.skip_blank() {
            return Some(open);
        }
        let start = self.at;
        let first = self.rest().chars().next()?;
        let kind = match first {
            '\'' => self.quoted('\'', false).map(|_| TokenKind::Text),
            '"' => self.quoted('"', false).map(TokenKind::Quoted),
            '$' => self.dollar(),
            c if is_word_start(c) => self.word(),
            c if c.is_ascii_digit() => {
                self.skip_while(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
                Some(TokenKind::Number)
            }
            ':' if self.rest().starts_with("::") => {
                self.at += 2;
                Some(TokenKind::Cast)
            }
            c => {
                self.at += c.len_utf8();
                Some(TokenKind::Sign(c))
            }
        };
        let kind = kind.unwrap_or_else(|| {
            self.at = self.text.len();
            TokenKind::Open
        });
        let span = start..self.at;
        Some(Token { kind, span })
    }

    /// Skips white space and comments; a comment without end is a token.
    fn skip_blank(&mut self) -> Option<Token> {
        loop {
            self.skip_while(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.skip_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                let start = self.at;
                if !self.skip_block() {
                    let span = start..self.text.len();
                    self.at = span.end;
                    return Some(Token {
                        kind: TokenKind::Open,
                        span,
                    });
                }
            } else {
                return None;
            }
        }
    }

    /// Skips a comment with those within it; says whether it has an end.
    fn skip_block(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                (depth, self.at) = (depth + 1, self.at + 2);
            } else if rest.starts_with("*/") {
                (depth, self.at) = (depth - 1, self.at + 2);
                if depth == 0 {
                    return true;
                }
            } else {
                match rest.chars().next() {
                    Some(c) => self.at += c.len_utf8(),
                    None => return false,
                }
            }
        }
    }

    fn skip_while(&mut self, fits: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !fits(c)).unwrap_or(rest.len());
    }

    /// A word, or a text or name with a letter before its quote.
    fn word(&mut self) -> Option<TokenKind> {
        let rest = self.rest();
        let lower = rest.get(..3).unwrap_or(rest).to_ascii_lowercase();
        for (lead, escapes) in [("e'", true), ("b'", false), ("x'", false), ("n'", false)] {
            if lower.starts_with(lead) {
                self.at += 1;
                return self.quoted('\'', escapes).map(|_| TokenKind::Text);
            }
        }
        if lower == "u&'" {
            self.at += 2;
            return self.quoted('\'', false).map(|_| TokenKind::Text);
        }
        let start = self.at;
        self.skip_while(|c| is_word_start(c) || c.is_ascii_digit() || c == '$');
        Some(TokenKind::Word(self.text[start..self.at].to_lowercase()))
    }

    /// What stands between two quotes, which are doubled within.
    fn quoted(&mut self, quote: char, escapes: bool) -> Option<String> {
        let mut content = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((offset, c)) = chars.next() {
            match c {
                '\\' if escapes => {
                    chars.next();
                }
                c if c == quote && chars.peek().is_some_and(|(_, next)| *next == quote) => {
                    chars.next();
                    content.push(quote);
                }
                c if c == quote => {
                    self.at += offset + 1;
                    return Some(content);
                }
                c => content.push(c),
            }
        }
        None
    }

    /// A text between `$tag$`, a parameter, or the mere sign.
    fn dollar(&mut self) -> Option<TokenKind> {
        let rest = self.rest();
        let tag_end = rest[1..].find(|c: char| !(is_word_start(c) || c.is_ascii_digit()));
        let closes = tag_end.filter(|end| rest[1 + end..].starts_with('$'));
        let numbered = rest[1..].starts_with(|c: char| c.is_ascii_digit());
        match (closes, numbered) {
            (Some(end), false) => {
                let tag = &rest[..end + 2];
                let close = rest[tag.len()..].find(tag)?;
                self.at += 2 * tag.len() + close;
                Some(TokenKind::Text)
            }
            (_, true) => {
                self.at += 1;
                self.skip_while(|c| c.is_ascii_digit());
                Some(TokenKind::Number)
            }
            (None, false) => {
                self.at += 1;
                Some(TokenKind::Sign('$'))
            }
        }
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// The statements of a script without their semicolons, each with its place.
///
/// Semicolons within `BEGIN ATOMIC … END` of a function belong to it.
pub(crate) fn statements(text: &str) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let (mut atomic, mut before_atomic) = (0_usize, false);
    for token in tokens(text) {
        atomic = match () {
            () if before_atomic && token.is("atomic") => 1,
            () if atomic > 0 && token.is("case") => atomic + 1,
            () if atomic > 0 && token.is("end") => atomic - 1,
            () => atomic,
        };
        before_atomic = token.is("begin");
        if token.is_sign(';') && atomic == 0 {
            all.extend(current.take());
            continue;
        }
        let start = current.map_or(token.span.start, |range| range.start);
        current = Some(start..token.span.end);
    }
    all.extend(current);
    all
}

/// Columns that an expression names, and what else it leans on.
pub(crate) mod expression {
    use super::{Token, TokenKind, tokens};
    use std::collections::BTreeSet;

    /// The tokens of `expression` that may name a column of the table called `table`, by index.
    fn column_tokens(all: &[Token], table: &str) -> Vec<usize> {
        let names = |index: &usize| {
            let index = *index;
            if all[index].name().is_none() {
                return false;
            }
            let next = all.get(index + 1);
            let called = next.is_some_and(|t| t.is_sign('(') || t.is_sign('.'));
            let before = index.checked_sub(1).map(|i| &all[i]);
            let cast = before.is_some_and(|t| t.kind == TokenKind::Cast);
            let foreign = before.is_some_and(|t| t.is_sign('.')) && {
                let qualifier = index.checked_sub(2).and_then(|i| all[i].name());
                qualifier != Some(table)
            };
            !called && !cast && !foreign
        };
        (0..all.len()).filter(names).collect()
    }

    /// Those of `columns` that `expression` reads from the row of the table called `table`.
    pub(crate) fn reads<'c>(
        expression: &str,
        table: &str,
        columns: impl IntoIterator<Item = &'c str>,
    ) -> BTreeSet<&'c str> {
        let all = tokens(expression);
        let named: BTreeSet<&str> = column_tokens(&all, table)
            .into_iter()
            .filter_map(|index| all[index].name())
            .collect();
        columns.into_iter().filter(|c| named.contains(c)).collect()
    }

    /// `expression` with each name of a column replaced by what `rename` says, quoted.
    pub(crate) fn renamed(
        expression: &str,
        table: &str,
        rename: impl Fn(&str) -> Option<String>,
    ) -> String {
        let all = tokens(expression);
        let mut out = String::new();
        let mut copied = 0;
        for index in column_tokens(&all, table) {
            let token = &all[index];
            if let Some(new) = token.name().and_then(&rename) {
                out += &expression[copied..token.span.start];
                out += &super::super::quote(&new);
                copied = token.span.end;
            }
        }
        out + &expression[copied..]
    }

    /// Whether the only name in `expression` besides functions and types is the column's, and
    /// no row of another table is read.
    pub(crate) fn is_simple(expression: &str, column: &str) -> bool {
        let all = tokens(expression);
        let reads_more = all.iter().any(|token| token.is("select"));
        let keyword = |name: &str| KEYWORDS.contains(&name);
        let only = column_tokens(&all, "").into_iter().all(|index| {
            let after_as = index.checked_sub(1).is_some_and(|i| all[i].is("as"));
            all[index]
                .name()
                .is_some_and(|name| name == column || keyword(name) || after_as)
        });
        only && !reads_more
    }

    /// What an expression may hold besides names.
    const KEYWORDS: [&str; 16] = [
        "and", "as", "case", "cast", "else", "end", "false", "in", "is", "like", "not", "null",
        "or", "then", "true", "when",
    ];

    /// `expression` with the column `name` replaced by SQL.
    pub(crate) fn replaced(expression: &str, name: &str, sql: &str) -> String {
        let all = tokens(expression);
        let mut out = String::new();
        let mut copied = 0;
        for index in column_tokens(&all, "") {
            let token = &all[index];
            if token.name() == Some(name) {
                out += &expression[copied..token.span.start];
                out += sql;
                copied = token.span.end;
            }
        }
        out + &expression[copied..]
    }

    /// The expression in parentheses, without what a person may have left at its end.
    pub(crate) fn in_parentheses(expression: &str) -> String {
        let trimmed = expression.trim().trim_end_matches(';').trim_end();
        // A comment at the end would swallow the parenthesis.
        match trimmed.contains("--") {
            true => format!("({trimmed}\n)"),
            false => format!("({trimmed})"),
        }
    }

    /// Whether `expression` is nothing but the column `name`.
    pub(crate) fn is_column(expression: &str, name: &str) -> bool {
        let all = tokens(expression);
        all.len() == 1 && all[0].name() == Some(name)
    }

    /// Whether the value is the same for every row and every time within a transaction: adding
    /// a column with such a default does not rewrite the table.
    pub(crate) fn is_constant(expression: &str) -> bool {
        const STABLE: [&str; 12] = [
            "now",
            "current_timestamp",
            "current_date",
            "localtimestamp",
            "transaction_timestamp",
            "statement_timestamp",
            "true",
            "false",
            "null",
            "interval",
            "date",
            "timestamp",
        ];
        let all = tokens(expression);
        let constant = |index: usize| match &all[index].kind {
            TokenKind::Text | TokenKind::Number | TokenKind::Cast => true,
            TokenKind::Sign(sign) => "()+-*/[]{},.".contains(*sign),
            TokenKind::Word(word) => STABLE.contains(&word.as_str()) || in_type(&all, index),
            TokenKind::Quoted(_) => in_type(&all, index),
            TokenKind::Open => false,
        };
        (0..all.len()).all(constant)
    }

    /// Whether the token is a part of a type's name after `::`.
    fn in_type(all: &[Token], index: usize) -> bool {
        let before = &all[..index];
        let part = |t: &&Token| t.name().is_some() || t.is_sign('.');
        let name_length = before.iter().rev().take_while(part).count();
        let at = index - name_length;
        at > 0 && all[at - 1].kind == TokenKind::Cast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes() {
        let text = "a ';' \";\"; -- ;\n /* ; /* ; */ ; */ b $x$ ; $x$; c E'\\';' $1;;";
        let found: Vec<&str> = statements(text).into_iter().map(|r| &text[r]).collect();
        let quoted = "a ';' \";\"";
        assert_eq!(found, [quoted, "b $x$ ; $x$", "c E'\\';' $1"]);
    }

    #[test]
    fn an_atomic_body_is_one_statement() {
        let text = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3";
        assert_eq!(statements(text).len(), 2);
    }

    #[test]
    fn columns_are_told_from_functions_types_and_other_tables() {
        let columns = ["name", "upper", "id", "text", "Role"];
        let reads = |sql| {
            expression::reads(sql, "t", columns)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(reads("UPPER(name)"), ["name"]);
        assert_eq!(reads("t.name::text || u.id || \"Role\""), ["Role", "name"]);
        assert_eq!(reads("'name' || $$id$$"), Vec::<&str>::new());
    }

    #[test]
    fn only_columns_are_renamed() {
        let new = |name: &str| (name == "name").then(|| "n\"2".to_owned());
        let sql = "name(NAME, 'name', t.\"name\", u.name)";
        assert_eq!(
            expression::renamed(sql, "t", new),
            "name(\"n\"\"2\", 'name', t.\"n\"\"2\", u.name)"
        );
    }

    #[test]
    fn volatile_defaults_are_not_constant() {
        for constant in [
            "100",
            "'unnamed'",
            "now()",
            "'a'::public.size",
            "-1.5",
            "'{}'::text[]",
        ] {
            assert!(expression::is_constant(constant), "{constant}");
        }
        for other in [
            "random()",
            "(random() * 1000)::int",
            "gen_random_uuid()",
            "f('x')",
        ] {
            assert!(!expression::is_constant(other), "{other}");
        }
    }
}
