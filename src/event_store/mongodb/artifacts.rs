//! Artifacts: bytes under their hash, in pieces that a document can hold. The same pieces again are the same artifact.

use futures::TryStreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, RawDocument, RawDocumentBuf, cstr, doc};
use mongodb::error::ErrorKind;
use testledger_schemas::hash::Hash;

use crate::event_store::StoreError;
use crate::event_store::mongodb::errors::codes;
use crate::event_store::mongodb::shared::Shared;

/// The most bytes an artifact may have.
pub const MAX_ARTIFACT_BYTES: usize = 64 << 20;
/// So many bytes stand in one document: it may have 16 MiB, and a batch of them has to fit into one message.
const PIECE_BYTES: usize = 4 << 20;
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
        let artifacts = self.artifacts.clone();
        self.ask(async move {
            match artifacts.insert_many(pieces).ordered(false).await {
                Ok(_) => Ok(()),
                Err(error) if is_there_already(&error.kind) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await?;
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

    /// Takes artifacts away.
    pub(super) async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        for hash in hashes {
            let (artifacts, filter) = (self.artifacts.clone(), pieces_filter(*hash));
            self.ask(async move { artifacts.delete_many(filter).await }).await?;
        }
        Ok(())
    }
}

/// The documents of an artifact: each knows how many there are.
fn pieces_of(bytes: &[u8]) -> (Hash, Vec<RawDocumentBuf>) {
    let hash = Hash::of(bytes);
    let count = bytes.len().div_ceil(PIECE_BYTES).max(1);
    let piece = |index: usize| {
        let from = index * PIECE_BYTES;
        let bytes = bytes.get(from..(from + PIECE_BYTES).min(bytes.len())).unwrap_or_default().to_vec();
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("_id"), format!("{hash}/{index:04}"));
        document.append(cstr!("pieces"), i64::try_from(count).unwrap_or(i64::MAX));
        document.append(cstr!("bytes"), Binary { subtype: BinarySubtype::Generic, bytes });
        document
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

/// Whether every error says no more than that a piece is there already.
fn is_there_already(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::InsertMany(failed) => {
            let mut errors = failed.write_errors.iter().flatten();
            failed.write_concern_error.is_none() && errors.all(|error| error.code == codes::DUPLICATE_KEY)
        }
        _ => false,
    }
}
