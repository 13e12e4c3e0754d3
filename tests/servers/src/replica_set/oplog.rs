//! Overruns an oplog, so that who followed it has lost the thread.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Binary, Document, Timestamp, doc, spec::BinarySubtype};

use super::{MAJORITY_PATIENCE, ReplicaSet, admin};
use crate::deadline::Deadline;
use crate::error::{Error, Result, driver};

/// What is written at once: as much as keeps the notes few.
const NOTE_BYTES: usize = 256 * 1024;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl ReplicaSet {
    /// Writes until nothing of what is in the primary's oplog now is left in it: a change stream that resumes from now or
    /// before finds its history lost (error 286). The set must have been started with a small oplog. No collection is
    /// touched. Takes a few seconds.
    ///
    /// # Errors
    /// There is no primary, or the oplog is not cut in time.
    pub async fn overrun_oplog(&self) -> Result<()> {
        let place = self.nodes[self.primary().await?].place();
        let client = admin::client(place, MAJORITY_PATIENCE).map_err(driver("connect to the primary"))?;
        let overrun = overrun(&client).await;
        client.shutdown().immediate(true).await;
        overrun
    }
}

async fn overrun(client: &Client) -> Result<()> {
    let last = timestamp(client, -1).await?;
    let deadline = Deadline::after(PATIENCE);
    while timestamp(client, 1).await? <= last {
        let filler = Binary { subtype: BinarySubtype::Generic, bytes: vec![0x5a; NOTE_BYTES] };
        run(client, doc! { "appendOplogNote": 1, "data": { "filler": filler } }).await?;
        deadline.pause("an oplog that is overrun: was the set started with `small_oplog`?").await?;
    }
    Ok(())
}

async fn run(client: &Client, command: Document) -> Result<()> {
    client.database("admin").run_command(command).await.map(drop).map_err(driver("overrun the oplog"))
}

/// The time of the first (1) or the last (-1) entry of the oplog.
async fn timestamp(client: &Client, order: i32) -> Result<Timestamp> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": order }).await.map_err(driver("read the oplog"))?;
    let entry = entry.ok_or_else(|| Error::Refused("the oplog is empty".to_owned()))?;
    entry
        .get_timestamp("ts")
        .map_err(|error| Error::Refused(format!("an entry of the oplog without its time: {error}")))
}
