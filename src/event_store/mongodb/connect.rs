//! The way to a database: the collections with their guarantees, and a bound on every answer.

use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::options::{
    Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};

use crate::event_store::StoreError;
use crate::event_store::mongodb::address::MongoAddress;
use crate::event_store::mongodb::errors::Translator;

/// How long the server waits for the majority before it says that it does not know.
pub(super) const MAJORITY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long one call may take until its outcome counts as unknown.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// A database on a replica set that a log may live in.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    pub(super) errors: Translator,
}

impl MongoStore {
    /// Connects to the database of an address.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a server or rights that will not do, each with the mend;
    /// [`StoreError::Unavailable`] if no primary answers.
    pub async fn connect(address: MongoAddress) -> Result<Self, StoreError> {
        let MongoAddress { options, database, errors } = address;
        let client = Client::with_options(options.clone()).map_err(|error| errors.store(&error))?;
        let store = Self { database: client.database(&database), client, errors };
        match store.check_deployment().await {
            Ok(()) => Ok(store),
            Err(error @ StoreError::Unavailable(_)) => Err(store.why_unavailable(&options).await.unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    /// The database, for views that live beside the log.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// The client of the database.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A collection whose writes are durable on a majority, and whose reads see nothing else.
    pub(super) fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        let options = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(durable())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        self.database.collection_with_options(name, options)
    }

    /// Does something with the driver in a task of its own, because its futures must not be dropped half-way; waits no
    /// longer than [`ANSWER_TIMEOUT`] for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.attempt(work).await?.map_err(|error| self.errors.store(&error))
    }

    /// As [`Self::ask`], with the driver's own error where there is one.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, tokio::spawn(work)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.errors.unavailable(&format!("a call did not end: {error}"))),
            Err(_) => Err(self.errors.unavailable(&format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    pub(super) async fn command(&self, command: Document) -> Result<Document, StoreError> {
        let database = self.database.clone();
        self.ask(async move { database.run_command(command).await }).await
    }
}

/// Durable on a majority of the members, in their journals.
pub(super) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY_TIMEOUT).build()
}
