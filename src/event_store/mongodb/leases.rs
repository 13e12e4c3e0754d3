//! Leases of engines beside a log in MongoDB: a document for each, whose count of renewals goes up; and, for engines of the
//! same machine, a file that is locked as long as anything of them is alive.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{RawDocument, doc};
use testledger_schemas::event::WorkerStarted;
use testledger_schemas::ids::WorkerId;

use crate::event_store::StoreError;
use crate::event_store::leases::file::FileLeases;
use crate::event_store::leases::{Lease, Leases};
use crate::event_store::mongodb::connect::MongoStore;
use crate::ports::clock::ms;

/// One document for each engine.
const WORKERS: &str = "workers";

/// The leases in a database.
pub struct MongoLeases {
    store: MongoStore,
    here: Arc<FileLeases>,
}

impl MongoLeases {
    /// The leases in this database, and of this machine.
    #[must_use]
    pub fn new(store: MongoStore, here: Arc<FileLeases>) -> Arc<Self> {
        Arc::new(Self { store, here })
    }

    async fn counted(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        let workers = self.store.collection(WORKERS);
        let found = self.store.ask(async move { workers.find_one(doc! { "_id": worker.to_string() }).await }).await?;
        Ok(found.map_or(Lease::Unknown, |document| read(&document)))
    }
}

/// A document that lacks something is as good as none: its engine is watched for as long as leases last by default.
fn read(document: &RawDocument) -> Lease {
    if document.get_bool("over").is_ok_and(|over| over) {
        return Lease::Over;
    }
    let number = |name| document.get_i64(name).ok().and_then(|number| u64::try_from(number).ok());
    match (number("renewals"), number("lasts_ms")) {
        (Some(renewals), Some(lasts)) => Lease::Counted { renewals, lasts: Duration::from_millis(lasts) },
        _ => Lease::Unknown,
    }
}

#[async_trait]
impl Leases for MongoLeases {
    async fn take(
        &self,
        worker: WorkerId,
        process: &WorkerStarted,
        lasts: Duration,
    ) -> Result<Option<OwnedFd>, StoreError> {
        // Without a folder of its own on this machine it is known by its document alone.
        let locked = match self.here.take(worker, process, lasts).await {
            Ok(locked) => locked,
            Err(error) => {
                tracing::warn!(%error, "other engines of this machine will wait for the lease of this one to run out");
                None
            }
        };
        let workers = self.store.collection(WORKERS);
        let lasts = i64::try_from(ms(lasts)).unwrap_or(i64::MAX);
        let fields = doc! { "$set": {
            "renewals": 0_i64, "lasts_ms": lasts, "over": false,
            "pid": i64::from(process.pid), "boot_id": &process.boot_id,
        } };
        let taking = async move { workers.update_one(doc! { "_id": worker.to_string() }, fields).upsert(true).await };
        self.store.ask(taking).await?;
        Ok(locked)
    }

    async fn renew(&self, worker: WorkerId) -> Result<bool, StoreError> {
        let workers = self.store.collection(WORKERS);
        let which = doc! { "_id": worker.to_string(), "over": false };
        let renewing = async move { workers.update_one(which, doc! { "$inc": { "renewals": 1_i64 } }).await };
        Ok(self.store.ask(renewing).await?.matched_count == 1)
    }

    fn runs_out(&self) -> bool {
        true
    }

    async fn look(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        // Where this machine tells nothing, the document does.
        match self.here.look(worker).await.unwrap_or(Lease::Unknown) {
            Lease::Over if self.here.is_of_this_boot(worker) => Ok(Lease::Over),
            // One that is stopped keeps its lock, and its document tells.
            Lease::Locked => match self.counted(worker).await? {
                Lease::Unknown => Ok(Lease::Locked),
                known => Ok(known),
            },
            Lease::Over | Lease::Unknown | Lease::Counted { .. } => self.counted(worker).await,
        }
    }

    async fn declare_over(&self, worker: WorkerId, renewals: u64) -> Result<bool, StoreError> {
        let workers = self.store.collection(WORKERS);
        let id = worker.to_string();
        let renewals = i64::try_from(renewals).unwrap_or(i64::MAX);
        let which = doc! { "_id": id, "$or": [{ "renewals": renewals }, { "over": true }] };
        let declaring = async move { workers.update_one(which, doc! { "$set": { "over": true } }).await };
        Ok(self.store.ask(declaring).await?.matched_count == 1)
    }

    async fn end_left_over(&self, worker: WorkerId) -> Result<usize, StoreError> {
        self.here.end_left_over(worker).await
    }

    async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError> {
        let workers = self.store.collection(WORKERS);
        let giving = async move { workers.delete_one(doc! { "_id": worker.to_string() }).await };
        self.store.ask(giving).await?;
        self.here.give_up(worker).await
    }
}
