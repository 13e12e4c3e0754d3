//! Views in MongoDB, in the same database as the log: a collection for each projection, a document for each view, and
//! one document that says how far they have come. Never the truth: they can be folded again at any time.
//!
//! Several processes may bring them up to date at once: the checkpoint is compared and written in the transaction that
//! writes the views, so no event is folded in twice.

mod codec;
mod errors;
mod executions;
mod leases;
mod listed;
mod manage;
mod reset;
mod save;
mod server;
mod state;
mod steps;
mod sums;
mod traces;
mod transaction;
mod writers;

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bson::doc;
use bson::oid::ObjectId;
use bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::ClientSession;
use testledger_projections::ports::{
    Checkpoint, Hold, ManagedStore, Saved, StoredView, Switched, ViewStore, ViewStoreError,
};

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::manage::Change;
use crate::views::mongodb::save::Save;
use crate::views::mongodb::server::{Question, Server};
use crate::views::mongodb::state::{CHECKPOINTS, State};
use crate::views::mongodb::transaction::{Patience, begin, end};

pub use self::leases::MongoLeases;
pub use self::listed::Listed;
pub use ::mongodb::Database;

/// How many views one query loads.
const MAX_KEYS: usize = 10_000;
/// How long a switch may take: it makes the indexes of all views first.
const SWITCH: Duration = Duration::from_secs(3_600);
/// How often a question is asked again, because the views moved to another collection meanwhile.
const MAX_MOVES: usize = 5;

/// The views of one projection in MongoDB (6.0 or later, as a replica set).
pub struct MongoViews<P> {
    server: Arc<Server>,
    projection: PhantomData<fn() -> P>,
}

impl<P: Listed> MongoViews<P> {
    /// The views in this database. Makes what is missing: the collection of the checkpoints, and the indexes.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    pub async fn open(database: &Database) -> Result<Arc<Self>, ViewStoreError> {
        let views = Self { server: Server::new(database), projection: PhantomData };
        let server = Arc::clone(&views.server);
        let opening = async move {
            server.furnish(CHECKPOINTS, vec![]).await?;
            let mut session = server.session().await?;
            if let Some(collection) = State::read::<P>(&server, &mut session).await?.collection {
                server.furnish(&collection, P::indexes()).await?;
                reset::drop_older::<P>(&server).await;
            }
            Ok(())
        };
        views.server.run(opening).await?;
        Ok(Arc::new(views))
    }

    /// The views that a question asks for. While a rebuild moves them to another collection, it is asked again.
    async fn ask(&self, question: Question) -> Result<Vec<P::View>, ViewStoreError> {
        let server = Arc::clone(&self.server);
        self.server.run(async move { answer::<P>(&server, &question).await }).await
    }
}

async fn answer<P: Listed>(server: &Server, question: &Question) -> Result<Vec<P::View>, Fault> {
    found::<P>(server, question).await?.iter().map(|document| codec::view(document)).collect()
}

/// The documents that a question asks for, all of one collection.
async fn found<P: Listed>(server: &Server, question: &Question) -> Result<Vec<RawDocumentBuf>, Fault> {
    let mut session = server.session().await?;
    let mut state = State::read::<P>(server, &mut session).await?;
    for _ in 0..MAX_MOVES {
        let Some(collection) = &state.collection else { return Ok(vec![]) };
        let found = server.find(&mut session, collection, question).await;
        server.note(&session);
        // A collection that was dropped under the question answers it with nothing, or with an error.
        let is_whole = found.as_ref().is_ok_and(|documents| !documents.is_empty());
        let now = if is_whole { state.clone() } else { State::read::<P>(server, &mut session).await? };
        if now.build == state.build {
            return found;
        }
        state = now;
    }
    Err(Fault::Failed("the views are thrown away again and again".to_owned()))
}

/// The view in a document, if the document is what would be written of it.
fn exact<P: Listed>(document: &RawDocumentBuf) -> Result<P::View, String> {
    let exact = || {
        let view: P::View = codec::view(document)?;
        let written = codec::document(codec::key(document)?, &P::beside(&view), &view)?;
        let differs = || {
            let fields = differing(document, &written).join(", ");
            Fault::Unreadable(format!("the document is not what would be written of its view: {fields}"))
        };
        if written.as_bytes() == document.as_bytes() { Ok(view) } else { Err(differs()) }
    };
    exact().map_err(|fault: Fault| fault.words())
}

/// The fields that are not the same in both; where all are, it is their order.
fn differing(stored: &RawDocument, written: &RawDocument) -> Vec<String> {
    let names = stored.iter().chain(written.iter()).filter_map(Result::ok).map(|(name, _)| name.as_str().to_owned());
    let is_other = |name: &String| stored.get(name).ok().flatten() != written.get(name).ok().flatten();
    let fields: BTreeSet<String> = names.filter(is_other).collect();
    if fields.is_empty() { vec!["the order of its fields".to_owned()] } else { fields.into_iter().collect() }
}

/// The views of these keys, of one state of the database together with its checkpoint.
async fn load<P: Listed>(server: &Server, keys: &[String]) -> Result<Vec<Option<P::View>>, Fault> {
    let (mut session, mut patience) = (server.session().await?, Patience::new());
    let mut found = loop {
        begin(&mut session).await?;
        let found = find::<P>(server, &mut session, keys).await;
        match end(&mut session, found).await {
            Ok(found) => break found,
            Err(fault) => patience.pause(server, &session, fault).await?,
        }
    };
    server.note(&session);
    Ok(keys.iter().map(|key| found.remove(key)).collect())
}

async fn find<P: Listed>(
    server: &Server,
    session: &mut ClientSession,
    keys: &[String],
) -> Result<HashMap<String, P::View>, Fault> {
    let mut views = HashMap::new();
    // Views of another version of the fold are none: the rebuild begins without them.
    let Some(collection) = State::read::<P>(server, session).await?.collection else { return Ok(views) };
    for keys in keys.chunks(MAX_KEYS) {
        let filter = doc! { "_id": { "$in": keys } };
        let question = Question { filter, ..Question::default() };
        for document in server.find(session, &collection, &question).await? {
            views.insert(codec::key(&document)?.to_owned(), codec::view(&document)?);
        }
    }
    Ok(views)
}

#[async_trait]
impl<P: Listed> ViewStore<P> for MongoViews<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        let server = Arc::clone(&self.server);
        let reading = async move {
            let mut session = server.session().await?;
            let state = State::read::<P>(&server, &mut session).await?;
            server.note(&session);
            Ok(state.checkpoint)
        };
        self.server.run(reading).await
    }

    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        let server = Arc::clone(&self.server);
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.server.run(async move { load::<P>(&server, &keys).await }).await
    }

    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let server = Arc::clone(&self.server);
        let (before, after) = (before.clone(), after.clone());
        let saving = async move {
            let documents = views.iter().map(|(key, view)| codec::document(&key.to_string(), &P::beside(view), view));
            let documents = documents.collect::<Result<_, _>>()?;
            Save { before, after, documents, id: ObjectId::new() }.carry_out::<P>(&server).await
        };
        self.server.run(saving).await
    }

    async fn reset(&self) -> Result<(), ViewStoreError> {
        let server = Arc::clone(&self.server);
        self.server.run(async move { reset::reset::<P>(&server).await }).await
    }
}

#[async_trait]
impl<P: Listed> ManagedStore<P> for MongoViews<P> {
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError> {
        let server = Arc::clone(&self.server);
        self.server.run(async move { manage::change::<P>(&server, Change::Fence).await }).await
    }

    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError> {
        let server = Arc::clone(&self.server);
        self.server.run(async move { manage::change::<P>(&server, Change::Hold(hold)).await.map(drop) }).await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<P>>, ViewStoreError> {
        let filter = doc! { "_id": { "$gt": after.unwrap_or_default() } };
        let question = Question { filter, sort: doc! { "_id": 1 }, limit, ..Question::default() };
        let server = Arc::clone(&self.server);
        let scanning = async move {
            let documents = found::<P>(&server, &question).await?;
            documents.iter().map(|document| Ok((codec::key(document)?.to_owned(), exact::<P>(document)))).collect()
        };
        self.server.run(scanning).await
    }

    fn beside(&self) -> Arc<dyn ViewStore<P>> {
        Arc::new(Self { server: self.server.beside(), projection: PhantomData })
    }

    async fn switch(&self) -> Result<Switched, ViewStoreError> {
        let server = Arc::clone(&self.server);
        self.server.run_within(SWITCH, async move { manage::switch::<P>(&server).await }).await
    }
}
