//! The JSON Schema of the file, for editors.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use crate::declare::{Field, Kind, PROJECT, Presence, Section, Speech};
use crate::form::{Form, Syntax};

/// A duration or the like would need the parser; editors get what a pattern can say.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The JSON Schema of `gapless.toml`, with a newline at its end.
///
/// It accepts every file that [`crate::parse`] accepts; the reverse does not hold, since rules
/// between keys are beyond it.
#[must_use]
pub fn schema() -> String {
    let mut schema = section(&PROJECT);
    schema.insert("$schema".to_owned(), json!(DIALECT));
    schema.insert("title".to_owned(), json!("gapless.toml"));
    let mut schema = Json::Object(schema);
    // Independent of whether another crate asks serde_json to keep the order of insertion.
    schema.sort_all_objects();
    let text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text + "\n"
}

fn section(section: &Section) -> Map<String, Json> {
    let properties: Map<String, Json> = section
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), property(field)))
        .collect();
    let required: Vec<&str> = section
        .fields
        .iter()
        .filter(|field| matches!(field.presence, Presence::Required { .. }))
        .map(|field| field.name)
        .collect();
    let mut schema = object(json!({
        "type": "object",
        "description": section.description,
        "properties": properties,
        "additionalProperties": false,
    }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if !section.one_of.is_empty() {
        let choice = |name: &&str| json!({ "required": [name] });
        let groups = section.one_of.iter();
        let groups =
            groups.map(|names| json!({ "oneOf": names.iter().map(choice).collect::<Json>() }));
        schema.insert("allOf".to_owned(), groups.collect());
    }
    schema
}

fn property(field: &Field) -> Json {
    let mut schema = kind(field.kind);
    let mut description = field.description.to_owned();
    if let Some(owners) = field.owners() {
        description += &format!(" Only with the {owners}.");
    }
    if let Some(other) = field.needs {
        description += &format!(" Only with `{other}`.");
    }
    match field.speech {
        Some(Speech::Http) => description += " Not with `tcp`.",
        Some(Speech::Tcp) if field.needs.is_none() => description += " Only with `tcp`.",
        Some(Speech::Tcp) | None => {}
    }
    match field.presence {
        Presence::Default(text) => {
            let value = DeValue::parse(text).expect("defaults are TOML");
            schema.insert("default".to_owned(), to_json(value.get_ref()));
        }
        Presence::Optional(meaning) => description += &format!(" When absent: {meaning}."),
        Presence::Required { .. } => {}
    }
    schema.insert("description".to_owned(), json!(description));
    Json::Object(schema)
}

fn kind(kind: Kind) -> Map<String, Json> {
    match kind {
        Kind::Flag => object(json!({ "type": "boolean" })),
        Kind::Present => object(json!({ "const": true })),
        Kind::Whole { min, max } => {
            object(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Kind::Decimal { places, min, max } => object(json!({
            "type": "number",
            "minimum": in_ones(min, places),
            "maximum": in_ones(max, places),
        })),
        Kind::Text(of) => form(of),
        Kind::List(of) => {
            object(json!({ "type": "array", "items": form(of), "uniqueItems": true }))
        }
        Kind::Map(of) => object(json!({
            "type": "object",
            "propertyNames": form(of),
            "additionalProperties": { "type": "string" },
        })),
        Kind::Count => object(json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 1_000 },
            form(&crate::form::SHARE),
        ]})),
        Kind::Port => object(json!({ "anyOf": [
            { "const": false },
            { "type": "integer", "minimum": 1, "maximum": u16::MAX },
        ]})),
        Kind::Command => object(json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ]})),
        Kind::Either(text, table) => object(json!({ "anyOf": [form(text), section(table)] })),
        Kind::Table(of) => section(of),
        Kind::Tables(of) => object(json!({ "type": "array", "items": section(of) })),
        Kind::Services(of) => object(json!({
            "type": "object",
            "propertyNames": form(&crate::form::SERVICE_NAME),
            "additionalProperties": section(of),
            "minProperties": 1,
        })),
        Kind::Databases(of) => object(json!({
            "type": "object",
            "propertyNames": form(&crate::form::SERVICE_NAME),
            "additionalProperties": section(of),
        })),
    }
}

fn form(form: &Form) -> Map<String, Json> {
    match form.syntax {
        Syntax::Parsed { pattern, .. } => object(json!({ "type": "string", "pattern": pattern })),
        Syntax::Choices(choices) => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            object(json!({ "enum": names }))
        }
    }
}

fn in_ones(units: u64, places: u32) -> Json {
    let one = 10_u64.pow(places);
    if units.is_multiple_of(one) {
        return json!(units / one);
    }
    let width = usize::try_from(places).expect("a few places");
    let text = format!("{}.{:0width$}", units / one, units % one);
    serde_json::from_str(&text).expect("digits and a point")
}

fn to_json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(number.as_str().parse::<u64>().expect("a default")),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Array(elements) => elements.iter().map(|e| to_json(e.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries =
                entries.map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())));
            Json::Object(entries.collect())
        }
        DeValue::Float(_) | DeValue::Datetime(_) => unreachable!("no default is of this type"),
    }
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        other => unreachable!("{other} is written as an object"),
    }
}
