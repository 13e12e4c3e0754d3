//! Leases on projections in MongoDB, by the clock of its server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bson::{DateTime, Document, doc};
use mongodb::Database;
use mongodb::options::ReturnDocument;
use testledger_projections::ports::{Lease, Leases, ViewStoreError};
use testledger_schemas::Timestamp;

use crate::views::mongodb::errors::{DUPLICATE_KEY, Fault, code};
use crate::views::mongodb::server::Server;

/// One document for each projection.
const LEASES: &str = "view_leases";

/// The leases in a database.
pub struct MongoLeases {
    server: Arc<Server>,
}

impl MongoLeases {
    /// The leases in this database.
    #[must_use]
    pub fn new(database: &Database) -> Arc<Self> {
        Arc::new(Self { server: Server::new(database) })
    }
}

async fn take(server: &Server, name: String, holder: String, lasts: i64) -> Result<bool, Fault> {
    let leases = server.database.collection::<Document>(LEASES);
    // Decided on the server, by its clock; where there is no document yet, both fields are missing.
    let own = doc! { "$eq": ["$holder", { "$literal": &holder }] };
    let ended = doc! { "$lte": [{ "$ifNull": ["$until", "$$NOW"] }, "$$NOW"] };
    let is_free = doc! { "$or": [own, ended] };
    let until = doc! { "$dateAdd": { "startDate": "$$NOW", "unit": "millisecond", "amount": lasts } };
    let taken = vec![doc! { "$set": {
        "holder": { "$cond": [is_free.clone(), { "$literal": &holder }, "$holder"] },
        "until": { "$cond": [is_free, until, "$until"] },
    } }];
    let taking = leases.find_one_and_update(doc! { "_id": name }, taken).upsert(true);
    match taking.return_document(ReturnDocument::After).await {
        Ok(found) => Ok(found.is_some_and(|lease| lease.get_str("holder").ok() == Some(holder.as_str()))),
        // Somebody else was first to make the document.
        Err(error) if code(&error) == Some(DUPLICATE_KEY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn current(server: &Server, name: String) -> Result<Option<Lease>, Fault> {
    let leases = server.database.collection::<Document>(LEASES);
    let which = doc! { "_id": name, "$expr": { "$gt": ["$until", "$$NOW"] } };
    let Some(found) = leases.find_one(which).await? else { return Ok(None) };
    let read = |found: &Document| {
        let until: &DateTime = found.get_datetime("until").ok()?;
        let holder = found.get_str("holder").ok()?.to_owned();
        Some(Lease { holder, until: Timestamp::from_unix_ms(until.timestamp_millis()) })
    };
    read(&found).map(Some).ok_or_else(|| Fault::Unreadable("a lease without its fields".to_owned()))
}

#[async_trait]
impl Leases for MongoLeases {
    async fn take(&self, projection: &str, holder: &str, duration: Duration) -> Result<bool, ViewStoreError> {
        let (server, name, holder) = (Arc::clone(&self.server), projection.to_owned(), holder.to_owned());
        let lasts = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.server.run(async move { take(&server, name, holder, lasts).await }).await
    }

    async fn give_up(&self, projection: &str, holder: &str) -> Result<(), ViewStoreError> {
        let (server, which) = (Arc::clone(&self.server), doc! { "_id": projection, "holder": holder });
        let giving = async move {
            server.database.collection::<Document>(LEASES).delete_one(which).await?;
            Ok(())
        };
        self.server.run(giving).await
    }

    async fn current(&self, projection: &str) -> Result<Option<Lease>, ViewStoreError> {
        let (server, name) = (Arc::clone(&self.server), projection.to_owned());
        self.server.run(async move { current(&server, name).await }).await
    }
}
