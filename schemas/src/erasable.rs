//! What may lawfully be taken away again: text that a person wrote or a test printed.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The `content` of an event: there, or erased. Content never decides anything: folds and the decider work without it.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema)]
#[schemars(with = "Option<T>", inline)]
pub enum Erasable<T> {
    /// The content as it was recorded.
    Kept(T),
    /// Taken away by a lawful erasure; its hash stays in the log.
    Erased,
}

impl<T> Erasable<T> {
    /// The content, unless it was erased.
    #[must_use]
    pub fn kept(&self) -> Option<&T> {
        match self {
            Self::Kept(content) => Some(content),
            Self::Erased => None,
        }
    }
}

impl<T> From<T> for Erasable<T> {
    fn from(content: T) -> Self {
        Self::Kept(content)
    }
}

impl<T: Default> Default for Erasable<T> {
    fn default() -> Self {
        Self::Kept(T::default())
    }
}

impl<T: Serialize> Serialize for Erasable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kept().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Erasable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Erased, Self::Kept))
    }
}
