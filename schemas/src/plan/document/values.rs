//! The small shapes that a plan's fields are made of.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text; a number or a truth value stands for the characters it is written with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalarText(pub String);

impl<'de> Deserialize<'de> for ScalarText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a text, the YAML reader gives a plain scalar as it is written: `1.10` stays `1.10`.
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for ScalarText {
    fn schema_name() -> Cow<'static, str> {
        "ScalarText".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text; a number or a truth value stands for the characters it is written with.",
            "type": ["string", "number", "boolean"],
        })
    }
}

/// The default of a parameter, or nothing where a value must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamDocument(pub Option<String>);

impl<'de> Deserialize<'de> for ParamDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<ScalarText>::deserialize(deserializer).map(|text| Self(text.map(|text| text.0)))
    }
}

impl JsonSchema for ParamDocument {
    fn schema_name() -> Cow<'static, str> {
        "Param".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The default of the parameter; nothing where a value must be given with `--param`.",
            "type": ["string", "number", "boolean", "null"],
        })
    }
}

/// A mapping whose order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs<V>(pub Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Pairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = vec![];
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

impl<V: JsonSchema> JsonSchema for Pairs<V> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for One<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(|value| OneOrMany(vec![value]))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(|value| OneOrMany(vec![value]))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(|value| OneOrMany(vec![value]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany<T>, A::Error> {
                let mut values = vec![];
                while let Some(value) = items.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(One(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

/// A command line: a list is program and arguments, a text is a line for `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandDocument {
    /// Program and arguments.
    Argv(Vec<String>),
    /// A shell line.
    Shell(String),
}

impl<'de> Deserialize<'de> for CommandDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Command;
        impl<'de> Visitor<'de> for Command {
            type Value = CommandDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of program and arguments, or a shell line")
            }
            fn visit_str<E>(self, line: &str) -> Result<CommandDocument, E> {
                Ok(CommandDocument::Shell(line.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<CommandDocument, A::Error> {
                let mut argv = vec![];
                while let Some(ScalarText(argument)) = items.next_element()? {
                    argv.push(argument);
                }
                Ok(CommandDocument::Argv(argv))
            }
        }
        deserializer.deserialize_any(Command)
    }
}

impl JsonSchema for CommandDocument {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let argument = generator.subschema_for::<ScalarText>();
        json_schema!({
            "description": "A list is program and arguments, each a template; a text is a shell line without templates.",
            "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "array", "minItems": 1, "items": argument }],
        })
    }
}

/// Reads a field that is there: its null is a value like any other, and not the absence of one.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonDocument>, D::Error> {
    JsonDocument::deserialize(deserializer).map(Some)
}

/// Any JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonDocument(pub Value);

impl<'de> Deserialize<'de> for JsonDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for JsonDocument {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Any value." })
    }
}

/// The longest duration a plan may name: 366 days.
pub const MAX_DURATION_MS: u64 = 366 * 24 * 3_600_000;

/// A duration in milliseconds, written as `500ms`, `30s`, `5m`, `1h`, or several of these, the largest unit first:
/// `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Its length in milliseconds.
    pub ms: u64,
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration such as `500ms`, `30s`, `5m`, `1h` or `1m30s`")]
pub struct InvalidDuration(pub String);

/// The units of a duration with their milliseconds, in the order they must stand in.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.to_owned());
        let (mut rest, mut units, mut ms) = (text, UNITS.iter(), 0_u64);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            let (_, factor) = units.by_ref().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
            let number: u64 = number.parse().map_err(|_| invalid())?;
            ms = number.checked_mul(*factor).and_then(|part| ms.checked_add(part)).ok_or_else(invalid)?;
            rest = &rest[digits + letters..];
        }
        if text.is_empty() || ms > MAX_DURATION_MS { Err(invalid()) } else { Ok(Self { ms }) }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration: `500ms`, `30s`, `5m`, `1h`, or several of these, the largest unit first: `1m30s`.",
            "type": "string",
            "format": "testledger-duration",
            "pattern": "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_and_order() {
        let ms = |text: &str| text.parse::<Duration>().ok().map(|duration| duration.ms);
        assert_eq!(
            ["500ms", "30s", "5m", "1h", "1m30s", "1h2m3s4ms", "0s"].map(ms),
            [500, 30_000, 300_000, 3_600_000, 90_000, 3_723_004, 0].map(Some)
        );
        for bad in ["", "5", "s", "1.5s", "30s1m", "1s1s", "-1s", "1 s", "1S", "99999999999h", "9000h", "١s"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mapping_keeps_its_order() {
        let pairs: Pairs<ScalarText> = serde_json::from_str(r#"{"z":"1","a":"2"}"#).unwrap();
        assert_eq!(pairs.0.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    }
}
