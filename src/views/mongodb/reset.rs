//! Throwing views away: the checkpoint names a collection that is not there, and the others are dropped.

use bson::Document;
use bson::oid::ObjectId;
use mongodb::ClientSession;
use testledger_projections::projection::Projection;

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::server::Server;
use crate::views::mongodb::state::{CHECKPOINTS, State, builds, collection_of};
use crate::views::mongodb::transaction::{Patience, begin, end, put};
use crate::views::slot::Slot;

/// Throws all views and the checkpoint away.
pub(super) async fn reset<P: Projection>(server: &Server) -> Result<(), Fault> {
    let (mut session, mut patience) = (server.writer().await?, Patience::new());
    let id = ObjectId::new();
    while let Err(fault) = forget::<P>(server, &mut session, id).await {
        patience.pause(server, &session, fault).await?;
    }
    server.give_back(session);
    drop_older::<P>(server).await;
    Ok(())
}

async fn forget<P: Projection>(server: &Server, session: &mut ClientSession, id: ObjectId) -> Result<(), Fault> {
    begin(session).await?;
    let forgotten = name_nothing::<P>(server, session, id).await;
    end(session, forgotten).await
}

/// The document stays, so that the numbers of the collections go on from where they were.
async fn name_nothing<P: Projection>(server: &Server, session: &mut ClientSession, id: ObjectId) -> Result<(), Fault> {
    let state = State::read::<P>(server, session).await?;
    if state.saved_by == Some(id) {
        return Ok(());
    }
    let build = State::next_build::<P>(server, session).await?;
    let stored = State::stored::<P>(server.slot, build, collection_of::<P>(build), state.checkpoint.thrown_away(), id);
    put(server, session, CHECKPOINTS, &[stored.document()?]).await
}

/// Drops what the checkpoint does not name any more: text that was erased since may stand in it. What stays because the
/// server is away goes another time.
pub(super) async fn drop_older<P: Projection>(server: &Server) {
    let dropped = async {
        let mut session = server.session().await?;
        let mut named = vec![];
        for slot in Slot::ALL {
            named.extend(State::of_slot::<P>(server, &mut session, slot).await?.build);
        }
        let last = named.iter().copied().max().unwrap_or(0);
        let is_unnamed = |build: u64| build < last && !named.contains(&build);
        for (_, name) in builds::<P>(server).await?.into_iter().filter(|(build, _)| is_unnamed(*build)) {
            server.database.collection::<Document>(&name).drop().await?;
        }
        Ok::<(), Fault>(())
    };
    if let Err(fault) = dropped.await {
        tracing::warn!(projection = P::NAME, ?fault, "views that are not used any more stay for now");
    }
}
