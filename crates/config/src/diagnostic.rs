//! What a TOML parser says, as mistakes like all others.

pub(crate) use model::diagnostic::{
    Mistake, Mistakes, Report, Span, did_you_mean, nearest, position,
};

/// The parser's errors, with what stands at them in `text`.
pub(crate) fn syntax(text: &str, errors: &[toml::de::Error]) -> Vec<Mistake> {
    let end = text.len();
    let mistake = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(end..end);
        one(text, error.message(), span)
    };
    errors.iter().map(mistake).collect()
}

fn one(text: &str, message: &str, span: Span) -> Mistake {
    if message == "duplicate key" {
        let key = text.get(span.clone()).unwrap_or_default();
        return Mistake::new(span, format!("`{key}` is there twice"));
    }
    let (message, expected) = match message.split_once(", expected ") {
        Some((message, "nothing")) => (message, None),
        Some((message, expected)) => (message, Some(expected)),
        None => (message, None),
    };
    let mistake = Mistake::new(span, format!("this is not TOML: {message}"));
    match expected {
        Some(expected) => mistake.expected(expected),
        None => mistake,
    }
}
