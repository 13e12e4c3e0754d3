//! What is kept beside the log, and what was lawfully taken away.

use super::declare::vocabulary;
use super::step::StepRun;
use crate::commit::CommitId;
use crate::erasable::Erasable;
use crate::hash::Hash;
use crate::ids::EventId;

vocabulary! {
    /// A file was kept.
    pub struct ArtifactAttached {
        /// Which run of a step it belongs to.
        pub run: Option<StepRun>,
        /// The artifact; durable before this event.
        pub artifact: Hash,
        /// Its size.
        pub bytes: u64,
        /// Its media type (RFC 6838).
        pub media_type: String,
        /// Its name.
        pub content: Erasable<ArtifactContent>,
    }

    /// The name of an artifact.
    #[derive(Default)]
    pub struct ArtifactContent {
        /// The file's name.
        pub name: String,
    }

    /// Content of an earlier event was lawfully erased; its hash stays.
    pub struct DataErased {
        /// The commit of that event.
        pub commit: CommitId,
        /// That event.
        pub event_id: EventId,
        /// Artifacts that were erased with it.
        pub artifacts: Vec<Hash>,
        /// Who asked for it, on what grounds.
        pub content: Erasable<ErasureContent>,
    }

    /// On what grounds content was erased.
    #[derive(Default)]
    pub struct ErasureContent {
        /// In words.
        pub grounds: String,
    }
}
