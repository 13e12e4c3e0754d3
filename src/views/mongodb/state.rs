//! The checkpoint document of a projection: how far its views have come, and in which collection they are.
//!
//! Every fold from the first event goes into a collection of a new number, a *build*, which the checkpoint names from the
//! first batch on. So nobody writes to a collection that no checkpoint names, numbers are never used again, and whatever
//! has a lower number than one that is named, and is not named itself, may be dropped at any time. A fold beside the views
//! that are read (blue and green) is the same, with a checkpoint of its own, which becomes the other one at its end.

use bson::oid::ObjectId;
use bson::raw::RawDocumentBuf;
use mongodb::ClientSession;
use serde::{Deserialize, Serialize};
use testledger_projections::ports::Checkpoint;
use testledger_projections::projection::Projection;

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::server::Server;
use crate::views::slot::Slot;

/// The collection of the checkpoints, one document for each projection.
pub(super) const CHECKPOINTS: &str = "view_checkpoints";

/// The document as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "_id")]
    pub(super) name: String,
    /// The version of the fold and its views.
    pub(super) version: u32,
    /// The number of the collection.
    pub(super) build: u64,
    /// Where the views are.
    pub(super) collection: String,
    /// How far they have come.
    #[serde(flatten)]
    pub(super) checkpoint: Checkpoint,
    /// Which save wrote this: one that has no answer finds out here whether it was carried out.
    pub(super) saved_by: ObjectId,
}

impl Stored {
    /// The document.
    pub(super) fn document(&self) -> Result<RawDocumentBuf, Fault> {
        Ok(bson::serialize_to_raw_document_buf(self)?)
    }
}

/// What the document means to this version of the projection.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// How far the views have come; the start, where there are none of this version.
    pub(super) checkpoint: Checkpoint,
    /// Where the views are; none where there are none of this version.
    pub(super) collection: Option<String>,
    /// The number of the last collection that was named; none where there is no document.
    pub(super) build: Option<u64>,
    /// Which save wrote the document.
    pub(super) saved_by: Option<ObjectId>,
}

impl State {
    /// Reads the document of the server's slot as the session sees it.
    pub(super) async fn read<P: Projection>(server: &Server, session: &mut ClientSession) -> Result<Self, Fault> {
        Self::of_slot::<P>(server, session, server.slot).await
    }

    /// Reads the document of a slot.
    pub(super) async fn of_slot<P: Projection>(
        server: &Server,
        session: &mut ClientSession,
        slot: Slot,
    ) -> Result<Self, Fault> {
        let checkpoints = server.database.collection::<Stored>(CHECKPOINTS);
        let stored = checkpoints.find_one(bson::doc! { "_id": slot.key::<P>() }).session(session).await?;
        Ok(Self::of::<P>(stored))
    }

    fn of<P: Projection>(stored: Option<Stored>) -> Self {
        let (build, saved_by) = (stored.as_ref().map(|it| it.build), stored.as_ref().map(|it| it.saved_by));
        let (checkpoint, collection) = match stored {
            Some(it) if it.version != P::VERSION => {
                // What was read of another version says nothing of this one but whose turn it is.
                (Checkpoint { paused: None, ..it.checkpoint.at_start() }, None)
            }
            Some(it) if it.checkpoint.position > 0 => (it.checkpoint, Some(it.collection)),
            Some(it) => (it.checkpoint, None),
            None => (Checkpoint::START, None),
        };
        Self { checkpoint, collection, build, saved_by }
    }

    /// The document of a slot that says this.
    pub(super) fn stored<P: Projection>(
        slot: Slot,
        build: u64,
        collection: String,
        checkpoint: Checkpoint,
        saved_by: ObjectId,
    ) -> Stored {
        Stored { name: slot.key::<P>(), version: P::VERSION, build, collection, checkpoint, saved_by }
    }

    /// The number for a fold from the first event: where a document was lost, the collections know which are used up.
    pub(super) async fn next_build<P: Projection>(server: &Server, session: &mut ClientSession) -> Result<u64, Fault> {
        let mut used: Vec<u64> = builds::<P>(server).await?.into_iter().map(|(build, _)| build).collect();
        for slot in Slot::ALL {
            used.extend(Self::of_slot::<P>(server, session, slot).await?.build);
        }
        Ok(server.slot.next(used))
    }
}

/// The collection of a build: the one place that knows its name.
pub(super) fn collection_of<P: Projection>(build: u64) -> String {
    format!("view_{}_v{}_{build}", P::NAME, P::VERSION)
}

/// The collections of a projection, of whatever version, with their numbers.
pub(super) async fn builds<P: Projection>(server: &Server) -> Result<Vec<(u64, String)>, Fault> {
    let names = server.database.list_collection_names().await?;
    Ok(names.into_iter().filter_map(|name| Some((build_in::<P>(&name)?, name))).collect())
}

fn build_in<P: Projection>(name: &str) -> Option<u64> {
    let (version, build) = name.strip_prefix("view_")?.strip_prefix(P::NAME)?.strip_prefix("_v")?.split_once('_')?;
    version.parse::<u32>().ok()?;
    build.parse().ok()
}
