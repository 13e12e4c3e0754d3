//! The JSON Schemas (draft 2020-12) that are published in `schemas/json/`, generated from the types.

use schemars::Schema;
use serde_json::Value;

use crate::plan::document::PlanDocument;

/// The schema of a plan as people write it.
#[must_use]
pub fn plan_schema() -> Value {
    let schema: Schema = schemars::schema_for!(PlanDocument);
    let mut schema = schema.to_value();
    strip_optional_nulls(&mut schema);
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
