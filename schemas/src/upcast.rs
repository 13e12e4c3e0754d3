//! Events as they are stored, of every age: written in the newest shape, read through one function per old shape.
//!
//! Stored events are never rewritten. When the shape of an event changes, its version in [`crate::event`] goes up and
//! [`UPCASTS`] gets one entry that turns the fields of the version before into those of the next.

use serde_json::{Map, Value};

use crate::canonical::{NotCanonical, check_canonical, strip_nulls};
use crate::commit::{RecordedEvent, StoredContent};
use crate::event::Event;
use crate::ids::EventId;

/// Turns the fields of one old shape into those of the next version. `content` is among them, null if erased.
type Upcast = fn(Map<String, Value>) -> Map<String, Value>;

/// Event name, old version, and what leads to the next version.
pub const UPCASTS: &[(&str, u32, Upcast)] = &[];

/// Why a stored event cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnreadableEvent {
    /// No version of this program knows the name.
    #[error("no event is called `{0}`")]
    UnknownType(String),
    /// It was written by a newer version of this program.
    #[error("`{type_name}` has shape {found} and this program knows shapes up to {newest}: use a newer testledger")]
    NewerVersion {
        /// The event's name.
        type_name: String,
        /// The version found.
        found: u32,
        /// The newest version known.
        newest: u32,
    },
    /// Its fields do not fit its name and version.
    #[error("`{type_name}`: {reason}")]
    Fields {
        /// The event's name.
        type_name: String,
        /// What does not fit.
        reason: String,
    },
}

/// Writes an event in its newest shape; see [`RecordedEvent::write`].
pub(crate) fn write(event_id: EventId, nonce: String, event: &Event) -> Result<RecordedEvent, NotCanonical> {
    let unwritable = |error: serde_json::Error| NotCanonical { path: String::new(), value: error.to_string() };
    let mut value = event.to_value().map_err(unwritable)?;
    strip_nulls(&mut value);
    check_canonical(&value)?;
    let Value::Object(mut data) = value else {
        return Err(NotCanonical { path: String::new(), value: value.to_string() });
    };
    let content = match data.remove("content") {
        Some(Value::Object(value)) => Some(StoredContent { nonce, value }),
        Some(_) | None => None,
    };
    let type_name = event.type_name();
    Ok(RecordedEvent {
        event_id,
        type_name: type_name.to_owned(),
        schema_version: Event::newest_version(type_name).unwrap_or(1),
        data,
        content_hash: content.as_ref().map(StoredContent::hash).transpose()?,
        content,
    })
}

/// Reads a stored event; see [`RecordedEvent::read`].
pub(crate) fn read(recorded: &RecordedEvent) -> Result<Event, UnreadableEvent> {
    let type_name = recorded.type_name.as_str();
    let newest = Event::newest_version(type_name).ok_or_else(|| UnreadableEvent::UnknownType(type_name.to_owned()))?;
    if recorded.schema_version > newest {
        let found = recorded.schema_version;
        return Err(UnreadableEvent::NewerVersion { type_name: type_name.to_owned(), found, newest });
    }
    let mut fields = recorded.data.clone();
    if recorded.content_hash.is_some() {
        let content = recorded.content.as_ref().map_or(Value::Null, |content| Value::Object(content.value.clone()));
        fields.insert("content".to_owned(), content);
    }
    let refused = |reason: String| UnreadableEvent::Fields { type_name: type_name.to_owned(), reason };
    for version in recorded.schema_version..newest {
        let (_, _, upcast) = UPCASTS
            .iter()
            .find(|(name, from, _)| *name == type_name && *from == version)
            .ok_or_else(|| refused(format!("shape {version} has no way to shape {}", version + 1)))?;
        fields = upcast(fields);
    }
    Event::from_value(type_name, Value::Object(fields)).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_old_shape_has_a_way_to_the_newest() {
        for type_name in Event::TYPES {
            let newest = Event::newest_version(type_name).unwrap();
            for version in 1..newest {
                assert!(
                    UPCASTS.iter().any(|(name, from, _)| name == type_name && *from == version),
                    "{type_name} {version}"
                );
            }
        }
    }
}
