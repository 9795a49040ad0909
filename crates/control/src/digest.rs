//! The identity of content.

use model::{Digest, ReleaseSpec};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The digest of a release's content: equal content has an equal one, in every version.
///
/// It is taken over JSON with sorted keys and without `null`, so that a part that is added
/// later and not used changes nothing.
pub(crate) fn of_release(spec: &ReleaseSpec) -> Digest {
    let value = serde_json::to_value(spec).expect("a release has text keys only");
    let mut canonical = String::new();
    write(&value, &mut canonical);
    of_bytes(canonical.as_bytes())
}

/// The digest of bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> Digest {
    Digest::try_new(&hex(&Sha256::digest(bytes))).expect("32 bytes have 64 digits")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble");
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.map(digit).collect()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_sorts_keys_and_drops_null() {
        let value = serde_json::json!({"b": [1, null, {"z": null, "a": "x\"y"}], "a": true});
        let mut text = String::new();
        write(&value, &mut text);
        assert_eq!(text, r#"{"a":true,"b":[1,null,{"a":"x\"y",},],}"#);
    }

    #[test]
    fn digests_print_as_hexadecimal() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of_bytes(b"").as_str(), empty);
    }
}
