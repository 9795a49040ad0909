//! What is copied to a shadow, and what is compared.

use super::{Form, Parsed};
use crate::diagnostic::did_you_mean;
use crate::value::Value;

const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// A request's method.
pub(crate) const METHOD: Form = Form::new(
    "a method: GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE",
    "^(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE)$",
    |text| {
        if METHODS.contains(&text) {
            Ok(Value::Text(text.to_owned()))
        } else {
            Err(did_you_mean(&text.to_ascii_uppercase(), METHODS))
        }
    },
);

/// A field as reports name it.
pub(crate) const FIELD: Form = Form::new(
    "a field as reports name it, such as \"body.items[].price\", \"header etag\" or \"status\"",
    "^(status|answer|header [!#$%&'*+.^_`|~0-9a-z-]+|body[^\\x00]*)$",
    field,
);

fn field(text: &str) -> Parsed {
    let is_header = |name: &str| super::name::header_name(name).is_some_and(|own| own == name);
    let is_body = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    let is_field = matches!(text, "status" | "answer")
        || text.strip_prefix("header ").is_some_and(is_header)
        || text.strip_prefix("body").is_some_and(is_body) && !text.contains('\0');
    if is_field {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_reported() {
        for text in [
            "status",
            "answer",
            "header etag",
            "body",
            "body.a[].b",
            "body[]",
        ] {
            assert!(FIELD.parse(text).is_ok(), "{text}");
        }
        for text in ["", "header", "header ETag", "bodyish", "price", "status.a"] {
            assert!(FIELD.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn methods_are_upper_case() {
        let Err(hint) = METHOD.parse("post") else {
            panic!("post is accepted");
        };
        assert_eq!(hint, Some("did you mean `POST`?".to_owned()));
        assert!(METHOD.parse("CONNECT").is_err());
    }
}
