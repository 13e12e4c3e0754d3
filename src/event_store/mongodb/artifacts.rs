//! Artifacts: bytes under their hash, in pieces that a document can hold. The same pieces again are the same artifact.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use testledger_schemas::Timestamp;
use testledger_schemas::hash::Hash;

use crate::event_store::mongodb::errors::codes;
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::{StoreError, StoredArtifact};

/// The most bytes an artifact may have.
pub const MAX_ARTIFACT_BYTES: usize = 64 << 20;
/// So many bytes stand in one document: it may have 16 MiB, and a batch of them has to fit into one message.
const PIECE_BYTES: usize = 4 << 20;
/// The most pieces of an artifact.
const MAX_PIECES: usize = MAX_ARTIFACT_BYTES / PIECE_BYTES + 1;
/// How often a piece is written again that somebody else wrote at the same time.
const MAX_TRIES: usize = 10;
/// Above so many bytes the hash is computed beside the async threads.
const HASH_ASIDE_BYTES: usize = 256 << 10;

impl Shared {
    /// Keeps bytes under their hash. Only whole: an artifact counts once all its pieces are there.
    pub(super) async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        if bytes.len() > MAX_ARTIFACT_BYTES {
            let why = format!("an artifact may have {MAX_ARTIFACT_BYTES} bytes, not {}", bytes.len());
            return Err(self.store.errors.refused(&why));
        }
        let (hash, pieces) = if bytes.len() <= HASH_ASIDE_BYTES {
            pieces_of(&bytes)
        } else {
            let cutting = tokio::task::spawn_blocking(move || pieces_of(&bytes)).await;
            cutting.map_err(|error| self.store.errors.unavailable(&format!("hashing did not end: {error}")))?
        };
        for (id, piece) in pieces {
            let artifacts = self.artifacts.clone();
            self.ask(async move { put(&artifacts, id, piece).await }).await?;
        }
        Ok(hash)
    }

    /// The bytes with this hash, if all of them are there.
    pub(super) async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let artifacts = self.artifacts.clone();
        let filter = pieces_filter(hash);
        let pieces: Vec<RawDocumentBuf> =
            self.ask(async move { artifacts.find(filter).sort(doc! { "_id": 1 }).await?.try_collect().await }).await?;
        let Some(bytes) = whole(&pieces) else { return Ok(None) };
        if Hash::of(&bytes) != hash {
            return Err(self.store.errors.damaged(&format!("the artifact {hash} is not what its hash says")));
        }
        Ok(Some(bytes))
    }

    /// The artifacts by hash, from after one on, also those with a part of their pieces.
    pub(super) async fn list_artifacts(
        &self,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Vec<StoredArtifact>, StoreError> {
        // One more than the most pieces of an artifact: so the first one is whole, and the last one may not be.
        let most = limit.saturating_add(MAX_PIECES);
        let after = after.map(|hash| format!("{hash}0")).unwrap_or_default();
        let pipeline = vec![
            doc! { "$match": { "_id": { "$gte": after } } },
            doc! { "$sort": { "_id": 1 } },
            doc! { "$limit": i64::try_from(most).unwrap_or(i64::MAX) },
            doc! { "$project": { "put_at": 1, "size": { "$binarySize": "$bytes" }, "now": "$$NOW" } },
        ];
        let artifacts = self.artifacts.clone();
        let pieces: Vec<Document> =
            self.ask(async move { artifacts.aggregate(pipeline).await?.try_collect().await }).await?;
        let foreign = || self.store.errors.damaged("a document among the artifacts is none");
        let mut found = listed(&pieces).ok_or_else(foreign)?;
        if pieces.len() == most {
            found.pop();
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Takes artifacts away, but no piece that was put later than its artifact was listed.
    pub(super) async fn remove_artifacts(&self, listed: &[StoredArtifact]) -> Result<(), StoreError> {
        for artifact in listed {
            let (artifacts, mut filter) = (self.artifacts.clone(), pieces_filter(artifact.hash));
            let put_at = DateTime::from_millis(artifact.put_at.unix_ms());
            // Also pieces of older programs, which have no such field.
            filter.insert("put_at", doc! { "$not": { "$gt": put_at } });
            self.ask(async move { artifacts.delete_many(filter).await }).await?;
        }
        Ok(())
    }

    /// Takes artifacts away.
    pub(super) async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        for hash in hashes {
            let (artifacts, filter) = (self.artifacts.clone(), pieces_filter(*hash));
            self.ask(async move { artifacts.delete_many(filter).await }).await?;
        }
        Ok(())
    }
}

/// Writes a piece, or says that it was put again: in one step, so whoever removes what is old removes it before or never.
async fn put(artifacts: &Collection<RawDocumentBuf>, id: String, piece: Piece) -> mongodb::error::Result<()> {
    let set = doc! {
        "pieces": piece.count,
        "bytes": { "$ifNull": ["$bytes", Binary { subtype: BinarySubtype::Generic, bytes: piece.bytes }] },
        "put_at": "$$NOW",
    };
    let (filter, change) = (doc! { "_id": id }, vec![doc! { "$set": set }]);
    let mut tries = 0;
    loop {
        match artifacts.update_one(filter.clone(), change.clone()).upsert(true).await {
            // Two that write it first at the same time: for the second one it is there.
            Err(error) if tries < MAX_TRIES && is_duplicate(&error.kind) => tries += 1,
            done => return done.map(|_| ()),
        }
    }
}

/// One piece of an artifact.
struct Piece {
    /// How many there are.
    count: i64,
    bytes: Vec<u8>,
}

/// The pieces of an artifact by their keys: each knows how many there are.
fn pieces_of(bytes: &[u8]) -> (Hash, Vec<(String, Piece)>) {
    let hash = Hash::of(bytes);
    let count = bytes.len().div_ceil(PIECE_BYTES).max(1);
    let piece = |index: usize| {
        let from = index * PIECE_BYTES;
        let bytes = bytes.get(from..(from + PIECE_BYTES).min(bytes.len())).unwrap_or_default().to_vec();
        (format!("{hash}/{index:04}"), Piece { count: i64::try_from(count).unwrap_or(i64::MAX), bytes })
    };
    (hash, (0..count).map(piece).collect())
}

fn pieces_filter(hash: Hash) -> mongodb::bson::Document {
    doc! { "_id": { "$gte": format!("{hash}/"), "$lt": format!("{hash}0") } }
}

/// The bytes of all pieces; none if one is missing.
fn whole(pieces: &[RawDocumentBuf]) -> Option<Vec<u8>> {
    let count = |piece: &RawDocument| piece.get_i64("pieces").ok().and_then(|count| usize::try_from(count).ok());
    if pieces.is_empty() || count(pieces.first()?)? != pieces.len() {
        return None;
    }
    pieces.iter().try_fold(Vec::new(), |mut bytes, piece| {
        bytes.extend_from_slice(piece.get_binary("bytes").ok()?.bytes);
        Some(bytes)
    })
}

fn is_duplicate(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == codes::DUPLICATE_KEY)
}

/// The artifacts that these listed pieces are of, in the same order.
fn listed(pieces: &[Document]) -> Option<Vec<StoredArtifact>> {
    let mut artifacts: Vec<StoredArtifact> = Vec::new();
    for piece in pieces {
        let hash = piece.get_str("_id").ok()?.split('/').next()?.parse().ok()?;
        let at = |name: &str| piece.get_datetime(name).map_or(0, |at| at.timestamp_millis());
        let put_at = Timestamp::from_unix_ms(at("put_at"));
        let age_ms = Timestamp::from_unix_ms(at("now")).since_ms(put_at);
        let bytes = piece.get_i32("size").map(i64::from).or_else(|_| piece.get_i64("size")).unwrap_or(0).unsigned_abs();
        match artifacts.last_mut().filter(|artifact| artifact.hash == hash) {
            Some(artifact) => {
                artifact.bytes += bytes;
                artifact.put_at = artifact.put_at.max(put_at);
                artifact.age_ms = artifact.age_ms.min(age_ms);
            }
            None => artifacts.push(StoredArtifact { hash, bytes, put_at, age_ms }),
        }
    }
    Some(artifacts)
}
