//! The YAML text as a tree in which every key and value knows where it stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::problem::shown;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it is used (of an alias: where the alias stands).
    pub place: Place,
}

/// A YAML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool,
    /// A whole number.
    Integer(i128),
    /// A number with a fraction.
    Float,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of writing.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The first byte.
    pub offset: usize,
    /// How many bytes.
    pub length: usize,
}

impl Place {
    /// The place of a location that the YAML reader gives.
    #[must_use]
    pub fn of(location: Location) -> Self {
        let span = location.span();
        let whole = |number: u64| usize::try_from(number).unwrap_or(0);
        Self {
            line: whole(location.line()).max(1),
            column: whole(location.column()).max(1),
            offset: whole(span.byte_offset().unwrap_or_default()),
            length: whole(span.byte_len().unwrap_or_default()),
        }
    }
}

impl Place {
    /// The same with its first byte, where the YAML reader's scanner gives line and column only.
    #[must_use]
    pub fn found_in(self, text: &str) -> Self {
        if self.offset > 0 {
            return self;
        }
        let line_start: usize = text.split_inclusive('\n').take(self.line - 1).map(str::len).sum();
        let line = text[line_start..].split('\n').next().unwrap_or_default();
        let in_line = line.char_indices().nth(self.column - 1).map_or(line.len(), |(offset, _)| offset);
        Self { offset: line_start + in_line, ..self }
    }
}

impl Value {
    /// What it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool => "a truth value",
            Self::Integer(_) => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// A way from the root of the tree to one of its nodes.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The root.
    Root,
    /// The value of this key.
    Key(&'a Path<'a>, &'a str),
    /// The item at this index, from 0.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The way to the value of a key.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The way to an item.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Path::Root, key) => f.write_str(&shown(key)),
            Self::Key(above, key) => write!(f, "{above}.{}", shown(key)),
            Self::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

impl Node {
    /// The place of the node at a path; where the path leads to nothing, that of the last node on the way.
    #[must_use]
    pub fn place_at(&self, path: &Path<'_>) -> Place {
        self.nearest(path).0.place
    }

    /// The place of the key that a path ends with; of the value, where there is no such key.
    #[must_use]
    pub fn key_place_at(&self, path: &Path<'_>) -> Place {
        match path {
            Path::Key(above, key) => match &self.nearest(above).0.value {
                Value::Map(entries) => {
                    entries.iter().find(|entry| entry.key == *key).map_or_else(|| self.place_at(path), |e| e.place)
                }
                _ => self.place_at(path),
            },
            Path::Root | Path::Index(..) => self.place_at(path),
        }
    }

    /// The node at a path and whether the path leads all the way to it.
    fn nearest(&self, path: &Path<'_>) -> (&Self, bool) {
        let (above, next) = match path {
            Path::Root => return (self, true),
            Path::Key(above, key) => (self.nearest(above), Step::Key(key)),
            Path::Index(above, index) => (self.nearest(above), Step::Index(*index)),
        };
        let (node, true) = above else { return (above.0, false) };
        let found = match (&node.value, next) {
            (Value::Map(entries), Step::Key(key)) => entries.iter().find(|entry| entry.key == key).map(|e| &e.node),
            (Value::List(items), Step::Index(index)) => items.get(index),
            _ => None,
        };
        found.map_or((node, false), |found| (found, true))
    }

    /// The value of a key, where this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The text, where this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value, place: Place::of(referenced) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(number).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Float)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = vec![];
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = vec![];
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { key: key.value, place: Place::of(key.referenced), node });
        }
        Ok(Value::Map(entries))
    }
}
