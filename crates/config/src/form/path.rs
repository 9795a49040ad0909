//! Paths of files that the server reads itself.

use super::{Form, Parsed};
use crate::value::Value;

/// A file's path from the root: the server has no folder of its own that it could begin from.
pub(crate) const ABSOLUTE_PATH: Form = Form::new(
    "a path from the root, such as \"/etc/shop/cert.pem\"",
    "^/[^\\x00]+$",
    absolute,
);

fn absolute(text: &str) -> Parsed {
    if text.len() > 1 && text.starts_with('/') && !text.contains('\0') {
        return Ok(Value::Text(text.to_owned()));
    }
    let hint = "the server reads it: write where it is from the root on";
    Err((!text.is_empty() && !text.starts_with('/')).then(|| hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_from_the_root_are_taken() {
        assert!(absolute("/etc/x y.pem").is_ok());
        for text in ["", "/", "cert.pem", "./cert.pem", "~/cert.pem", "/a\0"] {
            assert!(absolute(text).is_err(), "{text}");
        }
    }
}
