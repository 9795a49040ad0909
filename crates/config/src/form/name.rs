//! Names, and texts without a form of their own.

use model::{AudienceValue, ServiceName};

use super::{Form, Parsed, write};
use crate::value::Value;

/// Any text that is not empty.
pub(crate) const TEXT: Form = Form::new("a text that is not empty", "^[^\\x00]+$", |text| {
    if text.is_empty() || text.contains('\0') {
        Err(None)
    } else {
        Ok(Value::Text(text.to_owned()))
    }
});

/// The name of a service or project.
pub(crate) const SERVICE_NAME: Form = Form::new(
    "a name: 1 to 40 of a-z, 0-9 and -, beginning with a letter, not ending with -",
    "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$",
    |text| match ServiceName::try_new(text) {
        Ok(name) => Ok(Value::Name(name)),
        Err(_) => {
            let lower = text.to_lowercase().replace(['_', ' ', '.'], "-");
            Err(ServiceName::try_new(&lower).ok().and_then(write))
        }
    },
);

/// The name of an environment variable.
pub(crate) const VARIABLE_NAME: Form = Form::new(
    "the name of a variable: letters, digits and _, not beginning with a digit",
    "^[A-Za-z_][A-Za-z0-9_]*$",
    variable_name,
);

/// The name of a secret, which is also the variable it is given in.
pub(crate) const SECRET_NAME: Form = Form::new(
    "the name of a secret: letters, digits and _, not beginning with a digit",
    "^[A-Za-z_][A-Za-z0-9_]*$",
    |text| {
        variable_name(text.strip_prefix("secret:").unwrap_or(text)).and_then(|value| {
            match text.strip_prefix("secret:") {
                Some(name) => Err(write(name)),
                None => Ok(value),
            }
        })
    },
)
.secret();

/// A secret where a value could stand, too.
pub(crate) const SECRET_REFERENCE: Form = Form::new(
    "\"secret:NAME\" with the name of a secret",
    "^secret:[A-Za-z_][A-Za-z0-9_]*$",
    |text| match text.strip_prefix("secret:") {
        Some(name) => variable_name(name),
        None => Err(Some(
            "the file holds no secrets: set its value with `gapless secret set NAME`".to_owned(),
        )),
    },
)
.secret();

/// The name of a schema; what a version's name adds must fit, too.
pub(crate) const SCHEMA_NAME: Form = Form::new(
    "the name of a schema: at most 30 of a-z, 0-9 and _, not beginning with a digit",
    "^[a-z_][a-z0-9_]{0,29}$",
    |text| {
        let inner = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let begins = text.starts_with(|c: char| !c.is_ascii_digit());
        match inner && begins && text.len() <= 30 {
            true => Ok(Value::Text(text.to_owned())),
            false => Err(None),
        }
    },
);

/// The name of a header.
pub(crate) const HEADER_NAME: Form = Form::new(
    "the name of a header, such as \"X-Staff\"",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    |text| header_name(text).map(Value::Text).ok_or(None),
);

/// The name of a cookie.
pub(crate) const COOKIE_NAME: Form = Form::new(
    "the name of a cookie, such as \"staff\"",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    |text| {
        let is_name = !text.is_empty() && text.bytes().all(is_token);
        is_name.then(|| Value::Text(text.to_owned())).ok_or(None)
    },
);

/// The name of a service as gRPC has it; the empty one is the program as a whole.
pub(crate) const GRPC_SERVICE: Form = Form::new(
    "the name of a gRPC service, such as \"shop.v1.Cart\", or \"\" for the whole program",
    "^[A-Za-z0-9_.]{0,120}$",
    |text| {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        let is_fit = text.len() <= 120 && text.bytes().all(is_name);
        is_fit.then(|| Value::Text(text.to_owned())).ok_or(None)
    },
);

/// What a header or cookie must hold.
pub(crate) const MATCH_VALUE: Form = Form::new(
    "a value of printable ASCII, or \"secret:NAME\"",
    "^[!-~]([ -~]*[!-~])?$",
    match_value,
)
.secret();

fn variable_name(text: &str) -> Parsed {
    let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_name && text.starts_with(|c: char| !c.is_ascii_digit()) {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err(None)
    }
}

/// A header's name in lower case.
pub(super) fn header_name(text: &str) -> Option<String> {
    let is_name = !text.is_empty() && text.bytes().all(is_token);
    is_name.then(|| text.to_ascii_lowercase())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn match_value(text: &str) -> Parsed {
    if let Some(name) = text.strip_prefix("secret:") {
        variable_name(name)?;
        return Ok(Value::Match(AudienceValue::Secret(name.to_owned())));
    }
    let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if text.is_empty() || !printable || text.trim() != text {
        return Err(None);
    }
    Ok(Value::Match(AudienceValue::Plain(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_the_nearest_valid_one() {
        for (text, instead) in [("My_Shop", Some("my-shop")), ("9", None), ("", None)] {
            let hint = SERVICE_NAME.parse(text).err();
            assert_eq!(hint, Some(instead.and_then(write)), "{text}");
        }
    }

    #[test]
    fn variables_follow_the_rule_of_the_shells() {
        for text in ["A", "_", "lower_1", "DATABASE_URL"] {
            assert!(VARIABLE_NAME.parse(text).is_ok(), "{text}");
        }
        for text in ["", "1A", "A-B", "A B", "A=B", "É", "A\0"] {
            assert!(VARIABLE_NAME.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_named_without_prefix_in_lists() {
        let hint = SECRET_NAME.parse("secret:TOKEN").err();
        assert_eq!(hint, Some(Some("write `\"TOKEN\"`".to_owned())));
    }

    #[test]
    fn values_to_match_are_plain_or_secret() {
        for (text, value) in [
            ("yes", AudienceValue::Plain("yes".to_owned())),
            ("a b", AudienceValue::Plain("a b".to_owned())),
            ("secret:STAFF", AudienceValue::Secret("STAFF".to_owned())),
        ] {
            assert!(matches!(match_value(text), Ok(Value::Match(seen)) if seen == value));
        }
        for text in ["", " a", "a\r\nb", "é", "secret:", "secret:a-b"] {
            assert!(match_value(text).is_err(), "{text}");
        }
    }
}
