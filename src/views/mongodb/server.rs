//! The database as every piece of work uses it: a task of its own, a session that reads no older than what was read
//! before, majority only.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bson::raw::RawDocumentBuf;
use bson::{Document, Timestamp, doc};
use mongodb::options::{DatabaseOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{ClientSession, ClusterTime, Database, IndexModel, SessionCursor};
use testledger_projections::ports::ViewStoreError;
use tokio::sync::Semaphore;

use crate::views::mongodb::errors::{Fault, code};
use crate::views::mongodb::writers::Writers;
use crate::views::slot::Slot;

/// How long a caller waits for one piece of work, its repetitions included.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// How long the server may work on one read.
const READ: Duration = Duration::from_secs(30);
/// How many pieces of work are under way at once; one that was given up counts until it ends.
const AT_ONCE: usize = 64;
/// How many documents the server sends at a time.
const BATCH: u32 = 10_000;
/// The server's code for a collection that is there already.
const NAMESPACE_EXISTS: i32 = 48;

/// What is asked of a collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// Which documents.
    pub(super) filter: Document,
    /// In which order.
    pub(super) sort: Document,
    /// How many at the most; 0 is all.
    pub(super) limit: usize,
    /// The name of the index to walk; none leaves it to the server.
    pub(super) walk: Option<&'static str>,
    /// The one field that is wanted; none is all of them.
    pub(super) only: Option<&'static str>,
    /// The stages of an aggregation that the documents found go through; none leaves them as they are.
    pub(super) stages: Vec<Document>,
}

/// How far the reads have come, on the server's clock.
#[derive(Default)]
struct Seen {
    cluster: Option<ClusterTime>,
    operation: Option<Timestamp>,
}

async fn all(
    mut cursor: SessionCursor<RawDocumentBuf>,
    session: &mut ClientSession,
) -> Result<Vec<RawDocumentBuf>, Fault> {
    let mut documents = Vec::new();
    while let Some(document) = cursor.next(session).await {
        documents.push(document?);
    }
    Ok(documents)
}

/// One database, and which of a projection's views are meant.
pub(super) struct Server {
    pub(super) database: Database,
    pub(super) slot: Slot,
    /// The sessions that transactions which write are made in.
    pub(super) writers: Arc<Writers>,
    seen: Arc<Mutex<Seen>>,
    turns: Arc<Semaphore>,
}

impl Server {
    /// The database, whatever concerns its owner reads and writes with.
    pub(super) fn new(database: &Database) -> Arc<Self> {
        let options = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(WriteConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let database = database.client().database_with_options(database.name(), options);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { database, slot: Slot::Shown, writers: Arc::default(), seen: Arc::default(), turns })
    }

    /// The same database, and the views beside those that are read.
    pub(super) fn beside(&self) -> Arc<Self> {
        Arc::new(Self {
            database: self.database.clone(),
            slot: Slot::Beside,
            writers: Arc::clone(&self.writers),
            seen: Arc::clone(&self.seen),
            turns: Arc::clone(&self.turns),
        })
    }

    /// Runs one piece of work in a task of its own and waits for it: the driver's futures must not be dropped half way.
    /// What takes longer than [`ANSWER`] goes on without its caller.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        self.run_within(ANSWER, work).await
    }

    /// The same with another bound on how long the caller waits.
    pub(super) async fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        let turns = Arc::clone(&self.turns);
        let task = async move {
            let turn = turns.acquire_owned().await.map_err(|closed| Fault::Failed(closed.to_string()))?;
            let worked = tokio::spawn(async move {
                let worked = work.await;
                drop(turn);
                worked
            });
            worked.await.unwrap_or_else(|error| Err(Fault::Failed(error.to_string())))
        };
        let late = || Fault::Failed(format!("no answer within {} s", patience.as_secs()));
        let worked = tokio::time::timeout(patience, task).await.unwrap_or_else(|_| Err(late()));
        worked.map_err(|fault| fault.translate(self.database.name()))
    }

    /// A session that reads no older than what was read before, also where another server has become the primary.
    pub(super) async fn session(&self) -> Result<ClientSession, Fault> {
        let mut session = self.database.client().start_session().await?;
        self.advance(&mut session);
        Ok(session)
    }

    /// Lets a session read no older than what was read before.
    pub(super) fn advance(&self, session: &mut ClientSession) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = &seen.cluster {
            session.advance_cluster_time(cluster);
        }
        if let Some(operation) = seen.operation {
            session.advance_operation_time(operation);
        }
    }

    /// Remembers how far a session has read.
    pub(super) fn note(&self, session: &ClientSession) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if session.operation_time() > seen.operation {
            seen.operation = session.operation_time();
            seen.cluster = session.cluster_time().cloned();
        }
    }

    /// The documents a question asks for.
    pub(super) async fn find(
        &self,
        session: &mut ClientSession,
        collection: &str,
        question: &Question,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        if !question.stages.is_empty() {
            return self.aggregate(session, collection, question).await;
        }
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let limit = i64::try_from(question.limit).unwrap_or(i64::MAX);
        let found = collection.find(question.filter.clone()).sort(question.sort.clone());
        let mut found = found.limit(limit).batch_size(BATCH).max_time(READ);
        if let Some(index) = question.walk {
            found = found.hint(Hint::Name(index.to_owned()));
        }
        if let Some(field) = question.only {
            found = found.projection(doc! { field: 1 });
        }
        all(found.session(&mut *session).await?, session).await
    }

    /// What becomes of the documents a question asks for.
    async fn aggregate(
        &self,
        session: &mut ClientSession,
        collection: &str,
        question: &Question,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let found = doc! { "$match": question.filter.clone() };
        let stages = std::iter::once(found).chain(question.stages.iter().cloned());
        let mut asked = collection.aggregate(stages).batch_size(BATCH).max_time(READ).allow_disk_use(true);
        if let Some(index) = question.walk {
            asked = asked.hint(Hint::Name(index.to_owned()));
        }
        all(asked.with_type::<RawDocumentBuf>().session(&mut *session).await?, session).await
    }

    /// Makes a collection with its indexes, unless they are there: no transaction should have to.
    pub(super) async fn furnish(&self, collection: &str, indexes: Vec<IndexModel>) -> Result<(), Fault> {
        match self.database.create_collection(collection).await {
            Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {}
            other => other?,
        }
        if !indexes.is_empty() {
            self.database.collection::<Document>(collection).create_indexes(indexes).await?;
        }
        Ok(())
    }
}
