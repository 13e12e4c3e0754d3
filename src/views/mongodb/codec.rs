//! A view as a document: nested BSON in the shape of its JSON, every whole number 64 bits wide, and back without loss.
//!
//! It goes through JSON values, because JSON turns every key of a map into text, which BSON asks for, and because views
//! so have one shape wherever they are kept. Text stays text: what looks like extended JSON is not read as such.

use bson::raw::{CString, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use bson::{Decimal128, Document};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::views::mongodb::errors::Fault;

/// A name in BSON ends at its first NUL, so a NUL in a key is written as two characters: this one and `0`. The
/// character itself is written with a `1`.
const ESCAPE: char = '\u{2400}';

/// The document of a view: its key, what lists ask for, and the view's own fields.
pub(super) fn document<V: Serialize>(key: &str, beside: &Document, view: &V) -> Result<RawDocumentBuf, Fault> {
    let refuse = |why: &str| Fault::Unreadable(format!("the view {key} cannot be stored: {why}"));
    let value = serde_json::to_value(view).map_err(|error| refuse(&error.to_string()))?;
    let Value::Object(fields) = value else { return Err(refuse("it has no fields")) };
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("_id"), key);
    for (name, value) in beside {
        document.append(CString::try_from(name.as_str())?, RawBson::try_from(value.clone())?);
    }
    for (name, value) in fields {
        if name.starts_with(['_', '$']) {
            return Err(refuse(&format!("its field `{name}` has a name that is reserved")));
        }
        document.append(escaped(&name)?, encoded(value)?);
    }
    Ok(document)
}

/// The key of a stored view.
pub(super) fn key(document: &RawDocument) -> Result<&str, Fault> {
    document.get_str("_id").map_err(|error| Fault::Unreadable(error.to_string()))
}

/// The view in a document.
pub(super) fn view<V: DeserializeOwned>(document: &RawDocument) -> Result<V, Fault> {
    let mut fields = Map::new();
    for element in document {
        let (name, value) = element?;
        if !name.as_str().starts_with('_') {
            fields.insert(unescaped(name.as_str()), decoded(value)?);
        }
    }
    let read = serde_json::from_value(Value::Object(fields));
    read.map_err(|error| Fault::Unreadable(format!("{}: {error}", key(document).unwrap_or("a view without a key"))))
}

fn encoded(value: Value) -> Result<RawBson, Fault> {
    Ok(match value {
        Value::Null => RawBson::Null,
        Value::Bool(is) => RawBson::Boolean(is),
        Value::Number(number) => encoded_number(&number)?,
        Value::String(text) => RawBson::String(text),
        Value::Array(values) => {
            let mut array = RawArrayBuf::new();
            for value in values {
                array.push(encoded(value)?);
            }
            RawBson::Array(array)
        }
        Value::Object(fields) => {
            let mut document = RawDocumentBuf::new();
            for (name, value) in fields {
                document.append(escaped(&name)?, encoded(value)?);
            }
            RawBson::Document(document)
        }
    })
}

/// Whole numbers are 64 bits wide and signed; the few that are larger become decimals, which hold them exactly.
fn encoded_number(number: &Number) -> Result<RawBson, Fault> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), _, _) => Ok(RawBson::Int64(whole)),
        (None, Some(large), _) => Ok(RawBson::Decimal128(large.to_string().parse::<Decimal128>()?)),
        (None, None, Some(fraction)) => Ok(RawBson::Double(fraction)),
        (None, None, None) => Err(Fault::Unreadable(format!("{number} is no number that can be stored"))),
    }
}

fn decoded(value: RawBsonRef<'_>) -> Result<Value, Fault> {
    Ok(match value {
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Boolean(is) => is.into(),
        RawBsonRef::Int32(whole) => whole.into(),
        RawBsonRef::Int64(whole) => whole.into(),
        RawBsonRef::Double(fraction) => fraction.into(),
        RawBsonRef::Decimal128(large) => decoded_decimal(large)?,
        RawBsonRef::String(text) => text.into(),
        RawBsonRef::Array(values) => {
            let values = values.into_iter().map(|value| decoded(value?));
            Value::Array(values.collect::<Result<_, Fault>>()?)
        }
        RawBsonRef::Document(document) => {
            let fields = document.iter().map(|element| {
                let (name, value) = element?;
                Ok((unescaped(name.as_str()), decoded(value)?))
            });
            Value::Object(fields.collect::<Result<_, Fault>>()?)
        }
        // The kinds of BSON that no view is made of.
        other => {
            return Err(Fault::Unreadable(format!("a value of the kind {:?} is in no view", other.element_type())));
        }
    })
}

fn decoded_decimal(large: Decimal128) -> Result<Value, Fault> {
    let whole: Result<u64, _> = large.to_string().parse();
    whole.map(Value::from).map_err(|_| Fault::Unreadable(format!("{large} is no whole number")))
}

fn escaped(name: &str) -> Result<CString, Fault> {
    if !name.contains(['\0', ESCAPE]) {
        return Ok(CString::try_from(name)?);
    }
    let mut written = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        match character {
            '\0' => written.extend([ESCAPE, '0']),
            ESCAPE => written.extend([ESCAPE, '1']),
            _ => written.push(character),
        }
    }
    Ok(CString::try_from(written)?)
}

fn unescaped(written: &str) -> String {
    if !written.contains(ESCAPE) {
        return written.to_owned();
    }
    let (mut name, mut rest) = (String::with_capacity(written.len()), written.chars());
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => name.push(if rest.next() == Some('0') { '\0' } else { ESCAPE }),
            _ => name.push(character),
        }
    }
    name
}
