//! Variables in the words of a command line.

use std::collections::BTreeMap;

use crate::Argv;

/// Why a word's variables cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The environment does not have it.
    #[error("`${0}` is not in the environment")]
    Unknown(String),
    /// A dollar sign that begins no variable.
    #[error("`{0}` is no variable: write `$NAME`, `${{NAME}}`, or `$$` for a dollar sign")]
    Malformed(String),
}

/// A stretch of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl Argv {
    /// Replaces `$NAME` and `${NAME}` by their values in `env`, and `$$` by a dollar sign.
    ///
    /// Each word stays one word, whatever the values hold.
    ///
    /// # Errors
    ///
    /// [`VariableError`] for the first variable that is malformed or not in `env`.
    pub fn expand(&self, env: &BTreeMap<String, String>) -> Result<Vec<String>, VariableError> {
        self.0.iter().map(|word| expand_word(word, env)).collect()
    }
}

/// The names of the variables in one word, in order.
///
/// # Errors
///
/// [`VariableError::Malformed`] when a dollar sign begins no variable.
pub fn variables(word: &str) -> Result<Vec<&str>, VariableError> {
    let names = parts(word)?.into_iter().filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Variable(name) => Some(name),
    });
    Ok(names.collect())
}

fn expand_word(word: &str, env: &BTreeMap<String, String>) -> Result<String, VariableError> {
    let mut expanded = String::with_capacity(word.len());
    for part in parts(word)? {
        match part {
            Part::Text(text) => expanded.push_str(text),
            Part::Variable(name) => {
                let value = env.get(name);
                expanded.push_str(value.ok_or_else(|| VariableError::Unknown(name.to_owned()))?);
            }
        }
    }
    Ok(expanded)
}

fn parts(word: &str) -> Result<Vec<Part<'_>>, VariableError> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(dollar) = rest.find('$') {
        parts.push(Part::Text(&rest[..dollar]));
        let behind = &rest[dollar + 1..];
        rest = if let Some(after) = behind.strip_prefix('$') {
            parts.push(Part::Text("$"));
            after
        } else if let Some((name, after)) = name(behind) {
            parts.push(Part::Variable(name));
            after
        } else {
            let shown = rest[dollar..].chars().take(12).collect();
            return Err(VariableError::Malformed(shown));
        };
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// The name at the beginning of `text`, plain or in braces, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let Some(braced) = text.strip_prefix('{') else {
        let (name, rest) = text.split_at(name_length(text));
        return (!name.is_empty()).then_some((name, rest));
    };
    let (name, rest) = braced.split_once('}')?;
    (!name.is_empty() && name_length(name) == name.len()).then_some((name, rest))
}

/// How many bytes at the beginning of `text` form a variable's name.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.find(|c: char| !is_name(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(word: &str) -> Result<Vec<String>, VariableError> {
        let env = [("PORT", "20001"), ("A_1", "one two"), ("É", "never")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Argv(vec![word.to_owned()]).expand(&BTreeMap::from(env))
    }

    #[test]
    fn variables_are_replaced_within_their_word() {
        for (word, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("$PORT", "20001"),
            ("--port=$PORT", "--port=20001"),
            ("127.0.0.1:${PORT}/x", "127.0.0.1:20001/x"),
            ("${PORT}0$PORT", "20001020001"),
            ("$A_1", "one two"),
            ("$$PORT", "$PORT"),
            ("$$$PORT$$", "$20001$"),
            ("é$PORT", "é20001"),
        ] {
            assert_eq!(expand(word), Ok(vec![expanded.to_owned()]), "{word}");
        }
    }

    #[test]
    fn unknown_variables_are_refused() {
        for (word, name) in [
            ("$NOPE", "NOPE"),
            ("x${PORTS}", "PORTS"),
            ("$PORT_", "PORT_"),
        ] {
            assert_eq!(expand(word), Err(VariableError::Unknown(name.to_owned())));
        }
    }

    #[test]
    fn dollar_signs_that_begin_no_variable_are_refused() {
        for word in [
            "$", "a$", "$1", "${", "${}", "${PORT", "${A-b}", "$(x)", "$É", "$ PORT",
        ] {
            let error = expand(word).unwrap_err();
            assert!(matches!(error, VariableError::Malformed(_)), "{word}");
            assert!(matches!(variables(word), Err(VariableError::Malformed(_))));
        }
    }

    #[test]
    fn variables_are_listed_in_order() {
        assert_eq!(variables("$B-${A}$$C$B"), Ok(vec!["B", "A", "B"]));
    }
}
