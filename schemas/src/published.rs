//! The JSON Schemas (draft 2020-12) that are published in `schemas/json/`, generated from the types. The program adds those
//! of what it prints, and writes the files.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::commit::{Commit, StoredContent};
use crate::event::Event;
use crate::hash::Hash;
use crate::ids::EventId;
use crate::page::Page;
use crate::plan::document::PlanDocument;

/// Which JSON Schema the published ones are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The vocabulary's own published schemas with the names of their files.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("plan.schema.json", plan_schema()),
        ("event.schema.json", event_schema()),
        ("commit.schema.json", schema_of::<Commit>("testledger commit")),
        ("page.schema.json", schema_of::<Page>("testledger page")),
    ]
}

/// A schema as its file holds it.
#[must_use]
pub fn to_text(schema: &Value) -> String {
    // Values of our own making with text keys: serde_json has no reason to refuse them.
    serde_json::to_string_pretty(schema).unwrap_or_default() + "\n"
}

/// The schema of a plan as people write it.
#[must_use]
pub fn plan_schema() -> Value {
    schema_of::<PlanDocument>("testledger plan")
}

/// The schema of something the program prints: as it is written, so that only what may be left out is optional.
#[must_use]
pub fn output_schema<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema
}

fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    strip_optional_nulls(&mut schema);
    schema
}

/// The schema of an event as it is stored, in the newest shape of each type.
#[must_use]
pub fn event_schema() -> Value {
    let mut definitions = Map::new();
    let mut types = vec![];
    for (name, version, schema) in Event::field_schemas() {
        let mut fields = schema.to_value();
        strip_optional_nulls(&mut fields);
        if let Some(Value::Object(below)) = fields.as_object_mut().and_then(|fields| fields.remove("$defs")) {
            definitions.extend(below);
        }
        types.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name.to_owned(), stored_event(name, version, fields));
    }
    definitions.insert("Hash".to_owned(), definition_of::<Hash>());
    definitions.insert("EventId".to_owned(), definition_of::<EventId>());
    json!({
        "$schema": DIALECT,
        "title": "testledger event",
        "description": "An event as it is stored: `data` decides and stays, `content` is text and may be erased.",
        "oneOf": types,
        "$defs": definitions,
    })
}

fn definition_of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    schema
}

/// The stored shape of one type of event: its fields are split into `data` and `content`.
fn stored_event(name: &str, version: u32, mut fields: Value) -> Value {
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    let content = properties.and_then(|properties| properties.remove("content"));
    if let Some(Value::Array(required)) = fields.get_mut("required") {
        required.retain(|field| field != "content");
    }
    let description = fields.as_object_mut().and_then(|fields| fields.remove("description")).unwrap_or_default();
    for key in ["$schema", "title"] {
        fields.as_object_mut().and_then(|fields| fields.remove(key));
    }
    let mut properties = json!({
        "event_id": { "$ref": "#/$defs/EventId" },
        "type": { "const": name },
        "schema_version": { "const": version },
        "data": fields,
    });
    let mut required = vec!["event_id", "type", "schema_version", "data"];
    if let Some(content) = content {
        properties["content"] = stored_content(&content);
        properties["content_hash"] = json!({ "$ref": "#/$defs/Hash" });
        required.push("content_hash");
    }
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What [`StoredContent`] is, with the fields of this content.
fn stored_content(content: &Value) -> Value {
    let mut schema = definition_of::<StoredContent>();
    schema["properties"]["value"] = content.clone();
    schema["description"] = "Absent once it was lawfully erased.".into();
    schema
}

/// Takes out the `null` that stands for a field that may be absent: a key without a value is a mistake in a plan.
fn strip_optional_nulls(schema: &mut Value) {
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.values_mut().for_each(strip_null);
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(strip_optional_nulls),
        Value::Array(items) => items.iter_mut().for_each(strip_optional_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn strip_null(property: &mut Value) {
    let Some(fields) = property.as_object_mut() else { return };
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = fields.get_mut("anyOf") {
        options.retain(|option| option["type"] != "null");
        if let [only] = options.as_slice() {
            let only = only.clone();
            fields.remove("anyOf");
            if let Value::Object(only) = only {
                // The property's own description speaks of its place, so it stays.
                only.into_iter().for_each(|(key, value)| {
                    fields.entry(key).or_insert(value);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_definition() {
        fn check(value: &Value, root: &Value, name: &str) {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(root.pointer(pointer).is_some(), "{name}: {reference}");
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|field| check(field, root, name)),
                Value::Array(items) => items.iter().for_each(|item| check(item, root, name)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        all().iter().for_each(|(name, schema)| check(schema, schema, name));
    }

    #[test]
    fn definitions_of_one_name_are_the_same_in_every_event() {
        let mut seen = std::collections::BTreeMap::new();
        for (event, _, schema) in Event::field_schemas() {
            let schema = schema.to_value();
            for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
                let first = seen.entry(name.clone()).or_insert_with(|| definition.clone());
                assert_eq!(first, definition, "{name} in {event}");
            }
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }

    #[test]
    fn every_field_of_a_plan_is_described() {
        fn check(value: &Value) {
            for (name, property) in value.get("properties").and_then(Value::as_object).into_iter().flatten() {
                assert!(property["description"].is_string(), "{name}: {property}");
            }
            value.as_object().into_iter().flat_map(Map::values).for_each(check);
        }
        check(&plan_schema());
    }

    #[test]
    fn a_plan_has_no_optional_nulls() {
        let nulls = to_text(&plan_schema()).matches("\"null\"").count();
        assert_eq!(nulls, 2, "a parameter without a default, and an expected value");
    }
}
