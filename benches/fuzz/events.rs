//! The event decoder as a target: stored events and commits near valid ones of every type.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use testledger_schemas::commit::{Commit, Envelope, RecordedEvent, StreamHead};
use testledger_schemas::{Event, EventId, ExecutionId, Timestamp, published};
use uuid::Uuid;

use super::{Target, mutate};

/// Words that mean something in an event or a commit.
const WORDS: [&str; 28] = [
    "event_id",
    "type",
    "schema_version",
    "data",
    "content",
    "content_hash",
    "nonce",
    "value",
    "attempt",
    "step",
    "run",
    "outcome",
    "PASSED",
    "FAILED",
    "ERROR",
    "_id",
    "first_version",
    "events",
    "prev_hash",
    "hash",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "-1",
    "9007199254740993",
];
/// How deep a sample follows its schema.
const MAX_DEPTH: usize = 8;

/// Reads single stored events.
pub struct Events {
    schema: Value,
}

impl Events {
    /// The decoder with the published schema as the source of valid events.
    pub fn load() -> Self {
        Self { schema: published::event_schema() }
    }

    /// A valid stored event of any type.
    fn valid(&self, rng: &mut StdRng) -> RecordedEvent {
        let name = Event::TYPES[rng.random_range(0..Event::TYPES.len())];
        let stored = self.sample(&self.schema["$defs"][name], rng, MAX_DEPTH);
        let recorded: RecordedEvent = serde_json::from_value(stored).expect("the published schema is the stored shape");
        assert!(recorded.read().is_ok(), "a sample of {name} cannot be read: {:?}", recorded.read());
        recorded
    }

    /// A value that a schema of ours describes.
    fn sample(&self, schema: &Value, rng: &mut StdRng, depth: usize) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let below = self.schema.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
            return self.sample(below, rng, depth);
        }
        if !schema["const"].is_null() {
            return schema["const"].clone();
        }
        if let Some(options) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            return self.sample(&options[rng.random_range(0..options.len())], rng, depth);
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, rng, depth),
            Some("array") if depth == 0 => json!([]),
            Some("array") => {
                (0..rng.random_range(0..3)).map(|_| self.sample(&schema["items"], rng, depth - 1)).collect()
            }
            Some("string") => sample_text(schema, rng),
            Some("integer") => json!(rng.random_range(0..100_000)),
            Some("boolean") => json!(rng.random_bool(0.5)),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, rng: &mut StdRng, depth: usize) -> Value {
        let mut fields = Map::new();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = schema["required"].as_array().is_some_and(|keys| keys.contains(&json!(key)));
            if is_required || (depth > 0 && rng.random_bool(0.5)) {
                fields.insert(key.clone(), self.sample(property, rng, depth.saturating_sub(1)));
            }
        }
        if schema["additionalProperties"].is_object() && rng.random_bool(0.5) {
            fields.insert(
                "PASSED".to_owned(),
                self.sample(&schema["additionalProperties"], rng, depth.saturating_sub(1)),
            );
        }
        Value::Object(fields)
    }
}

/// A text that fits the format or the pattern of its schema.
fn sample_text(schema: &Value, rng: &mut StdRng) -> Value {
    let uuid = Uuid::from_u128(rng.random());
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("uuid"), _) => json!(uuid),
        (_, Some(pattern)) if pattern.contains("64}") => json!(format!("{:064x}", rng.random::<u128>())),
        (_, Some(pattern)) if pattern.contains("execution|worker") => json!(format!("execution/{uuid}/0000000001")),
        (_, Some(_)) => json!(Timestamp::from_unix_ms(rng.random_range(0..1 << 41))),
        (_, None) => json!(mutate::pick(rng, &WORDS)),
    }
}

/// A text that is near a valid value, in its bytes or in its shape.
fn near(rng: &mut StdRng, mut valid: Value) -> Vec<u8> {
    match rng.random_range(0..10) {
        0 => mutate::noise(rng),
        1 => mutate::any_value(rng, &WORDS, 4).to_string().into_bytes(),
        2..=4 => {
            let mut text = valid.to_string().into_bytes();
            mutate::bytes(rng, &mut text, &WORDS, &[]);
            text
        }
        5 => valid.to_string().into_bytes(),
        _ => {
            (0..rng.random_range(1..4)).for_each(|_| mutate::value(rng, &mut valid, &WORDS));
            valid.to_string().into_bytes()
        }
    }
}

/// Reads an event; what can be read must be written and read again as the same.
fn read_event(recorded: &RecordedEvent) -> bool {
    let Ok(event) = recorded.read() else { return false };
    if let Ok(again) = RecordedEvent::write(recorded.event_id, "00".to_owned(), &event) {
        assert_eq!(again.read().as_ref(), Ok(&event), "an event survives its stored shape");
    }
    true
}

impl Target for Events {
    fn name(&self) -> &'static str {
        "event decoder"
    }

    fn input(&self, rng: &mut StdRng) -> Vec<u8> {
        let valid = serde_json::to_value(self.valid(rng)).unwrap_or_default();
        near(rng, valid)
    }

    fn read(&self, input: &[u8]) -> bool {
        serde_json::from_slice::<RecordedEvent>(input).is_ok_and(|recorded| read_event(&recorded))
    }
}

/// Reads whole commits.
pub struct Commits {
    events: Events,
}

impl Commits {
    /// The decoder of commits.
    pub fn load() -> Self {
        Self { events: Events::load() }
    }
}

impl Target for Commits {
    fn name(&self) -> &'static str {
        "commit decoder"
    }

    fn input(&self, rng: &mut StdRng) -> Vec<u8> {
        let events = (0..rng.random_range(1..3)).map(|_| self.events.valid(rng)).collect();
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(rng.random_range(0..1 << 41)),
            actor: "ada".to_owned(),
            worker: None,
            claim_epoch: Some(rng.random_range(0..9)),
            correlation_id: None,
            causation_id: Some(EventId(Uuid::from_u128(rng.random()))),
        };
        let stream = ExecutionId(Uuid::from_u128(rng.random())).into();
        let commit = Commit::seal(stream, StreamHead::EMPTY, envelope, events);
        near(rng, commit.map_or(Value::Null, |commit| serde_json::to_value(commit).unwrap_or_default()))
    }

    fn read(&self, input: &[u8]) -> bool {
        let Ok(commit) = serde_json::from_slice::<Commit>(input) else { return false };
        let is_sound = commit.check().is_ok();
        commit.events.iter().all(read_event) && is_sound
    }
}
