//! The canonical form: the one sequence of bytes that a JSON value is hashed as (RFC 8785).

use serde::Serialize;
use serde_json::{Map, Value};

use crate::hash::Hash;

/// The largest integer that every JSON reader keeps exactly: 2^53.
pub const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// A value that has no canonical form here, with the place where it stands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {value} is not a whole number of at most 2^53; keep other numbers as text")]
pub struct NotCanonical {
    /// Where, as a JSON Pointer (RFC 6901).
    pub path: String,
    /// The offending number.
    pub value: String,
}

/// The canonical bytes of a value of our own fields: text, booleans, whole numbers up to 2^53, lists, maps, null.
///
/// # Errors
/// [`NotCanonical`] for fractions and for numbers beyond 2^53: they would not survive every store and reader.
pub fn canonical_bytes(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    check_canonical(value)?;
    checked_bytes(value)
}

/// The canonical bytes of a map's value, without a copy of it.
///
/// # Errors
/// As [`canonical_bytes`].
pub fn canonical_map_bytes(map: &Map<String, Value>) -> Result<Vec<u8>, NotCanonical> {
    check_map(map, &mut String::new())?;
    if is_sorted(map) { sorted_bytes(map) } else { checked_bytes(map) }
}

/// The canonical bytes of what is known to have whole numbers up to 2^53 only.
pub(crate) fn checked_bytes(value: &impl Serialize) -> Result<Vec<u8>, NotCanonical> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|error| NotCanonical { path: String::new(), value: error.to_string() })
}

/// The canonical bytes of what is known to have whole numbers up to 2^53 only, whose fields are declared in the order of
/// their names, and whose maps are sorted: then the plain JSON is the canonical form, as both escape the same characters
/// in the same way. Many times as fast as sorting; a property test holds it against [`checked_bytes`].
pub(crate) fn sorted_bytes(value: &impl Serialize) -> Result<Vec<u8>, NotCanonical> {
    serde_json::to_vec(value).map_err(|error| NotCanonical { path: String::new(), value: error.to_string() })
}

/// Whether the order of the keys as they are kept (by their bytes) is the canonical one (by UTF-16 code units): the two
/// differ only beyond U+DFFF.
pub(crate) fn is_sorted(fields: &Map<String, Value>) -> bool {
    fn is_sorted_within(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().all(is_sorted_within),
            Value::Object(fields) => is_sorted(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    fields.iter().all(|(key, value)| key.chars().all(|it| it < '\u{e000}') && is_sorted_within(value))
}

/// Whether a value has a canonical form.
///
/// # Errors
/// As [`canonical_bytes`].
pub fn check_canonical(value: &Value) -> Result<(), NotCanonical> {
    check(value, &mut String::new())
}

/// As [`check_canonical`], for a map that stands at `path`.
pub(crate) fn check_map_at(map: &Map<String, Value>, path: String) -> Result<(), NotCanonical> {
    check_map(map, &mut { path })
}

/// SHA-256 over the canonical bytes.
///
/// # Errors
/// As [`canonical_bytes`].
pub fn canonical_hash(value: &Value) -> Result<Hash, NotCanonical> {
    canonical_bytes(value).map(|bytes| Hash::of(&bytes))
}

fn check(value: &Value, path: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => {
            let exact = number.as_u64().is_some_and(|n| n <= MAX_EXACT_INTEGER)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() <= MAX_EXACT_INTEGER);
            if exact { Ok(()) } else { Err(NotCanonical { path: path.clone(), value: number.to_string() }) }
        }
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| check_below(item, path, &index.to_string()))
        }
        Value::Object(fields) => check_map(fields, path),
    }
}

fn check_map(fields: &Map<String, Value>, path: &mut String) -> Result<(), NotCanonical> {
    fields.iter().try_for_each(|(key, field)| check_below(field, path, key))
}

fn check_below(value: &Value, path: &mut String, key: &str) -> Result<(), NotCanonical> {
    let length = path.len();
    path.push('/');
    path.push_str(key);
    check(value, path)?;
    path.truncate(length);
    Ok(())
}

/// Takes out every field that is null: absent and null are one and the same in what we store.
pub fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_by_utf_16_code_units() {
        // RFC 8785, section 3.2.3.
        let value = json!({ "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7 });
        let text = String::from_utf8(canonical_bytes(&value).unwrap()).unwrap();
        let order: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(order, ['2', '1', '4', '6', '7', '1', '5', '3'], "{text}");
    }

    #[test]
    fn numbers_that_would_change_on_the_way_are_refused_with_their_place() {
        assert!(canonical_bytes(&json!({ "n": MAX_EXACT_INTEGER })).is_ok());
        assert!(canonical_bytes(&json!({ "n": -(MAX_EXACT_INTEGER as i64) })).is_ok());
        for bad in [json!(0.5), json!(MAX_EXACT_INTEGER + 1), json!(i64::MIN), json!(1e300)] {
            let error = canonical_bytes(&json!({ "a": [1, { "b": bad }] })).unwrap_err();
            assert_eq!(error.path, "/a/1/b");
        }
    }

    mod sorted {
        use proptest::prelude::*;

        use super::*;

        fn json() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                any::<bool>().prop_map(Value::from),
                any::<i32>().prop_map(Value::from),
                ".*".prop_map(Value::from),
                Just(Value::Null),
            ];
            leaf.prop_recursive(4, 24, 6, |inner| {
                prop_oneof![
                    proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                    fields(inner).prop_map(Value::Object),
                ]
            })
        }

        fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
            let key = prop_oneof![".{0,3}", "[a-z_]{0,8}", "[\u{d7f0}-\u{10010}\u{fff0}-\u{1000f}]{1,2}"];
            proptest::collection::btree_map(key, value, 0..6).prop_map(|fields| fields.into_iter().collect())
        }

        proptest! {
            #[test]
            fn what_is_sorted_is_canonical_as_it_is(map in fields(json())) {
                prop_assert_eq!(canonical_map_bytes(&map), checked_bytes(&map));
                if is_sorted(&map) {
                    prop_assert_eq!(sorted_bytes(&map), checked_bytes(&map));
                }
            }
        }

        #[test]
        fn keys_that_utf_16_sorts_otherwise_are_noticed() {
            let otherwise: Map<String, Value> =
                [("\u{fb33}".to_owned(), 1.into()), ("\u{1f600}".to_owned(), 2.into())].into_iter().collect();
            assert!(!is_sorted(&otherwise));
            assert_ne!(sorted_bytes(&otherwise), checked_bytes(&otherwise));
            assert_eq!(canonical_map_bytes(&otherwise), checked_bytes(&otherwise));
        }
    }
}
