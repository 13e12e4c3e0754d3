//! Changes bytes and JSON values in ways that find the edges of readers.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// The longest input.
const MAX_INPUT_BYTES: usize = 8192;

/// One of these.
pub fn pick<'a, T: ?Sized>(rng: &mut StdRng, items: &[&'a T]) -> &'a T {
    items[rng.random_range(0..items.len())]
}

/// Changes a few places of a text.
pub fn bytes(rng: &mut StdRng, text: &mut Vec<u8>, words: &[&str], others: &[Vec<u8>]) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=text.len());
        let end = (at + rng.random_range(0..24)).min(text.len());
        match rng.random_range(0..7) {
            0 => drop(text.splice(at..end, [])),
            1 => drop(text.splice(at..at, pick(rng, words).bytes())),
            2 => drop(text.splice(at..end, pick(rng, words).bytes())),
            3 => {
                let copy = text[at..end].to_vec();
                let to = rng.random_range(0..=text.len());
                text.splice(to..to, copy);
            }
            4 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
            5 => text.truncate(at),
            _ => {
                let Some(other) = others.get(rng.random_range(0..others.len().max(1))) else { continue };
                let from = rng.random_range(0..=other.len());
                text.truncate(at);
                text.extend_from_slice(&other[from..]);
            }
        }
    }
    text.truncate(MAX_INPUT_BYTES);
}

/// Any bytes.
pub fn noise(rng: &mut StdRng) -> Vec<u8> {
    (0..rng.random_range(0..200)).map(|_| rng.random()).collect()
}

/// A value of any kind, with these words as keys and texts.
pub fn any_value(rng: &mut StdRng, words: &[&str], depth: usize) -> Value {
    match rng.random_range(0..if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!(rng.random_range(-3..1000)),
        3 => json!(rng.random::<i64>()),
        4 => json!(f64::from(rng.random::<f32>())),
        5 => json!(pick(rng, words)),
        6 => (0..rng.random_range(0..4)).map(|_| any_value(rng, words, depth - 1)).collect(),
        _ => {
            let field = |rng: &mut StdRng| (pick(rng, words).to_owned(), any_value(rng, words, depth - 1));
            (0..rng.random_range(0..5)).map(|_| field(rng)).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

/// Changes one place of a value: replaces it, takes it away, or puts something beside it.
pub fn value(rng: &mut StdRng, value: &mut Value, words: &[&str]) {
    let deeper = rng.random_bool(0.7);
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = rng.random_range(0..fields.len());
            let Some(key) = fields.keys().nth(at).cloned() else { return };
            match rng.random_range(0..8) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(pick(rng, words).to_owned(), any_value(rng, words, 2))),
                _ => {
                    if let Some(field) = fields.get_mut(&key) {
                        self::value(rng, field, words);
                    }
                }
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = rng.random_range(0..items.len());
            match rng.random_range(0..6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => self::value(rng, &mut items[at], words),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            *value = any_value(rng, words, 2);
        }
    }
}
