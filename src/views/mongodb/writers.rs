//! The sessions in which views are written. Each is registered before its first transaction, so that another worker can
//! end what one that was killed in the middle left open: the server itself would wait a minute, and nobody could write.
//!
//! Ending a session of one that lives does no harm: its transaction is taken back, and it compares the checkpoint anew.

use std::sync::{Mutex, PoisonError};

use bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{ClientSession, IndexModel};

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::server::Server;

/// The register: one document for each session.
const SESSIONS: &str = "view_sessions";
/// How long a session stays in the register, in seconds; it may be registered again.
const REGISTERED_FOR: u64 = 24 * 60 * 60;

/// Sessions of this process that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Writers {
    idle: Mutex<Vec<ClientSession>>,
}

impl Server {
    /// A session to write in; to be given back with [`Server::give_back`].
    pub(super) async fn writer(&self) -> Result<ClientSession, Fault> {
        let idle = self.writers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut session) = idle {
            self.advance(&mut session);
            return Ok(session);
        }
        let session = self.session().await?;
        let keep = IndexOptions::builder()
            .name("registered_for".to_owned())
            .expire_after(std::time::Duration::from_secs(REGISTERED_FOR))
            .build();
        let index = IndexModel::builder().keys(doc! { "at": 1 }).options(keep).build();
        self.furnish(SESSIONS, vec![index]).await?;
        let sessions = self.database.collection::<Document>(SESSIONS);
        let at = vec![doc! { "$set": { "at": "$$NOW" } }];
        sessions.update_one(doc! { "_id": id_of(&session) }, at).upsert(true).await?;
        Ok(session)
    }

    /// Remembers how far a session has read, and keeps it for the next one.
    pub(super) fn give_back(&self, session: ClientSession) {
        self.note(&session);
        self.writers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Ends every other session that is registered, with the transactions in it.
    pub(super) async fn end_others(&self, own: &ClientSession) -> Result<(), Fault> {
        let sessions = self.database.collection::<Document>(SESSIONS);
        let mut others = sessions.find(doc! { "_id": { "$ne": id_of(own) } }).await?;
        let mut ids = vec![];
        while others.advance().await? {
            if let Some(id) = others.deserialize_current()?.remove("_id") {
                ids.push(Bson::from(doc! { "id": id }));
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        tracing::info!(
            sessions = ids.len(),
            "a transaction on views stays open; the sessions of other workers are ended"
        );
        let ending = doc! { "killSessions": ids };
        self.database.run_command(ending).await?;
        Ok(())
    }
}

fn id_of(session: &ClientSession) -> Bson {
    session.id().get("id").cloned().unwrap_or(Bson::Null)
}
