//! The schema, and the file that `init` writes.

use serde_json::Value as Json;

use super::{EVERYTHING, LEAST};
use crate::{Detected, init_file, schema};

const KEPT: &str = include_str!("../../../../docs/gapless.schema.json");

#[test]
fn the_schema_in_docs_is_the_one_of_the_declarations() {
    assert!(
        KEPT == schema(),
        "docs/gapless.schema.json is stale: run `cargo xtask generate`"
    );
}

/// Whether `schema` accepts `instance`, by the few keywords that the schema uses.
fn accepts(schema: &Json, instance: &Json) -> bool {
    let keywords = schema.as_object().unwrap();
    keywords.iter().all(|(keyword, rule)| match instance {
        Json::Object(object) if accepts_object(schema, (keyword, rule), object) == Some(false) => {
            false
        }
        _ => accepts_keyword((keyword, rule), instance),
    })
}

/// What a keyword about objects says; `None`: it is about something else.
fn accepts_object(
    schema: &Json,
    (keyword, rule): (&str, &Json),
    object: &serde_json::Map<String, Json>,
) -> Option<bool> {
    let declared = |key: &String| schema.get("properties").and_then(|all| all.get(key));
    let mut entries = object.iter();
    Some(match keyword {
        "properties" => entries.all(|(key, value)| rule.get(key).is_none_or(|r| accepts(r, value))),
        "additionalProperties" => entries.all(|(key, value)| {
            declared(key).is_some() || rule.as_bool().unwrap_or_else(|| accepts(rule, value))
        }),
        "propertyNames" => entries.all(|(key, _)| accepts(rule, &Json::from(key.as_str()))),
        "minProperties" => object.len() as u64 >= rule.as_u64().unwrap(),
        "required" => {
            let mut names = rule.as_array().unwrap().iter();
            names.all(|name| object.contains_key(name.as_str().unwrap()))
        }
        _ => return None,
    })
}

fn accepts_keyword((keyword, rule): (&str, &Json), instance: &Json) -> bool {
    let text = instance.as_str();
    let number = instance.as_f64();
    let array = instance.as_array();
    let rules = || rule.as_array().unwrap().iter();
    match keyword {
        "$schema" | "title" | "description" | "default" | "uniqueItems" => true,
        "properties" | "additionalProperties" | "propertyNames" | "minProperties" | "required" => {
            true
        }
        "type" => is_type(rule.as_str().unwrap(), instance),
        "allOf" => rules().all(|rule| accepts(rule, instance)),
        "oneOf" => rules().filter(|rule| accepts(rule, instance)).count() == 1,
        "anyOf" => rules().any(|rule| accepts(rule, instance)),
        "enum" => rules().any(|rule| rule == instance),
        "const" => rule == instance,
        "pattern" => {
            let regex = regex::Regex::new(rule.as_str().unwrap()).unwrap();
            text.is_none_or(|text| regex.is_match(text))
        }
        "minimum" => number.is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => number.is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minLength" => text.is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
        "minItems" => array.is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
        "items" => array.is_none_or(|items| items.iter().all(|item| accepts(rule, item))),
        other => panic!("unknown keyword {other}"),
    }
}

fn is_type(name: &str, instance: &Json) -> bool {
    match name {
        "object" => instance.is_object(),
        "array" => instance.is_array(),
        "string" => instance.is_string(),
        "boolean" => instance.is_boolean(),
        "integer" => instance.is_u64() || instance.is_i64(),
        "number" => instance.is_number(),
        other => panic!("unknown type {other}"),
    }
}

fn json(text: &str) -> Json {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn the_schema_accepts_what_is_valid() {
    let schema: Json = serde_json::from_str(&schema()).unwrap();
    assert!(accepts(&schema, &json(EVERYTHING)));
    assert!(accepts(&schema, &json(LEAST)));
}

#[test]
fn the_schema_refuses_what_it_can_see() {
    let schema: Json = serde_json::from_str(&schema()).unwrap();
    for (from, to) in [
        ("version = 1", "version = 2"),
        ("project = \"shop\"", ""),
        ("[service.web]", "[service.Web]"),
        ("artifact", "artefact"),
        (
            "{ http = \"/healthz\" }",
            "{ http = \"/healthz\", tcp = true }",
        ),
        (
            "{ http = \"/healthz\" }",
            "{ http = \"/healthz\", every = \"0s\" }",
        ),
        ("artifact = \"dist\"", "artifact = \"dist\"\nport = true"),
        ("artifact = \"dist\"", "artifact = \"dist\"\nreplicas = 0"),
    ] {
        let text = LEAST.replace(from, to);
        assert_ne!(text, LEAST);
        assert!(!accepts(&schema, &json(&text)), "{text}");
    }
}

fn detected() -> Detected {
    Detected {
        artifact: "target/release/shop".to_owned(),
        run: ["./shop", "--port", "$PORT", "--name", "it's \"me\""]
            .map(str::to_owned)
            .to_vec(),
        health: "/healthz".to_owned(),
    }
}

#[test]
fn the_file_of_init_is_valid_and_says_what_it_does() {
    let text = init_file("shop", &detected());
    let project = crate::parse(&text).unwrap();
    let web = project.services.values().next().unwrap();
    assert_eq!(web.artifact, "target/release/shop");
    assert_eq!(web.template.run.0, detected().run);
    insta::assert_snapshot!(text);
}

#[test]
fn the_defaults_that_init_states_are_the_defaults() {
    let text = init_file("shop", &detected());
    let mut uncommented = 0;
    let stated: Vec<&str> = text
        .lines()
        .map(|line| {
            let rest = line.strip_prefix("# ").unwrap_or(line);
            let name = rest.split(" = ").next().unwrap_or_default();
            let is_default = rest.contains(" = ") && !name.contains(' ') && !name.contains('`');
            uncommented += usize::from(is_default && rest != line);
            if is_default { rest } else { line }
        })
        .collect();
    assert!(uncommented >= 10, "{uncommented} defaults are stated");
    assert_eq!(crate::parse(&stated.join("\n")), crate::parse(&text));
}
