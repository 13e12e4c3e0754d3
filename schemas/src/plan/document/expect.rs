//! Expectations as people write them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use super::values::{Duration, JsonDocument, OneOrMany, given};

/// What the result must be. `exit`, `stdout` and `stderr` are for `run`; `status`, `headers`, `json` and `text` for
/// `http`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectDocument {
    /// The exit code that passes, or a list of them. 0 without it.
    pub exit: Option<OneOrMany<i32>>,
    /// What the standard output must be like.
    pub stdout: Option<TextExpectDocument>,
    /// What the standard error must be like.
    pub stderr: Option<TextExpectDocument>,
    /// The status that passes: a number, a class such as `2xx`, or a list of these. 200 to 399 without it.
    pub status: Option<OneOrMany<StatusDocument>>,
    /// What header fields must be like, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueExpectDocument>,
    /// What the values at these JSONPaths (RFC 9535) of the body must be like.
    #[serde(default)]
    pub json: BTreeMap<String, ValueExpectDocument>,
    /// What the body as text must be like.
    pub text: Option<TextExpectDocument>,
    /// The longest it may take.
    pub within: Option<Duration>,
}

/// A status code, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusDocument {
    /// This code.
    Code(u64),
    /// Such as `2xx`.
    Class(String),
}

impl<'de> Deserialize<'de> for StatusDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Status;
        impl Visitor<'_> for Status {
            type Value = StatusDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status code or a class such as `2xx`")
            }
            fn visit_u64<E>(self, code: u64) -> Result<StatusDocument, E> {
                Ok(StatusDocument::Code(code))
            }
            fn visit_i64<E>(self, code: i64) -> Result<StatusDocument, E> {
                Ok(u64::try_from(code).map_or(StatusDocument::Class(code.to_string()), StatusDocument::Code))
            }
            fn visit_str<E>(self, text: &str) -> Result<StatusDocument, E> {
                Ok(StatusDocument::Class(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Status)
    }
}

impl JsonSchema for StatusDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Status".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A status code, or a class of them such as `2xx`.",
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^[1-5]xx$", "format": "testledger-status-class" },
            ],
        })
    }
}

/// What a text must be like; everything given must hold. A text alone means `contains`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextExpectDocument(pub TextOperators);

/// What a text must be like; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextOperators {
    /// It is exactly this.
    pub equals: Option<String>,
    /// It has this, or each of these, in it.
    pub contains: Option<OneOrMany<String>>,
    /// It has this, or any of these, not in it.
    pub not_contains: Option<OneOrMany<String>>,
    /// This regular expression, or each of these, is found in it.
    pub matches: Option<OneOrMany<String>>,
}

impl<'de> Deserialize<'de> for TextExpectDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextExpect;
        impl<'de> Visitor<'de> for TextExpect {
            type Value = TextExpectDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a mapping with `equals`, `contains`, `not_contains`, `matches`")
            }
            fn visit_str<E>(self, text: &str) -> Result<TextExpectDocument, E> {
                let contains = Some(OneOrMany(vec![text.to_owned()]));
                Ok(TextExpectDocument(TextOperators { contains, ..TextOperators::default() }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextExpectDocument, A::Error> {
                TextOperators::deserialize(MapAccessDeserializer::new(map)).map(TextExpectDocument)
            }
        }
        deserializer.deserialize_any(TextExpect)
    }
}

impl JsonSchema for TextExpectDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextExpect".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a text must be like; a text alone means `contains`.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<TextOperators>()],
        })
    }
}

/// What one value must be like; everything given must hold. Anything but a mapping means `equals`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueExpectDocument(pub ValueOperators);

/// What one value must be like; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueOperators {
    /// It is there (`true`), or is not there (`false`).
    pub exists: Option<bool>,
    /// It equals this value.
    #[serde(default, deserialize_with = "given")]
    pub equals: Option<JsonDocument>,
    /// It has this in it as text, or holds it as a list.
    pub contains: Option<String>,
    /// This regular expression is found in it as text.
    pub matches: Option<String>,
    /// It has so many characters, elements or fields.
    pub length: Option<u64>,
    /// It is at least this number.
    pub at_least: Option<Number>,
    /// It is at most this number.
    pub at_most: Option<Number>,
}

impl ValueExpectDocument {
    fn equal_to(value: Value) -> Self {
        Self(ValueOperators { equals: Some(JsonDocument(value)), ..ValueOperators::default() })
    }
}

impl<'de> Deserialize<'de> for ValueExpectDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueExpect;
        impl<'de> Visitor<'de> for ValueExpect {
            type Value = ValueExpectDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a mapping with `exists`, `equals`, `contains`, `matches`, ...")
            }
            fn visit_unit<E>(self) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<ValueExpectDocument, E> {
                Ok(ValueExpectDocument::equal_to(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<ValueExpectDocument, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(items)).map(ValueExpectDocument::equal_to)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ValueExpectDocument, A::Error> {
                ValueOperators::deserialize(MapAccessDeserializer::new(map)).map(ValueExpectDocument)
            }
        }
        deserializer.deserialize_any(ValueExpect)
    }
}

impl JsonSchema for ValueExpectDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ValueExpect".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What one value must be like; anything but a mapping means `equals`.",
            "anyOf": [
                { "type": ["null", "boolean", "number", "string", "array"] },
                generator.subschema_for::<ValueOperators>(),
            ],
        })
    }
}
