//! What is done to a whole projection: a new epoch, a hold, and the switch to the views that were folded beside.

use bson::oid::ObjectId;
use mongodb::ClientSession;
use testledger_projections::ports::{Checkpoint, Hold, Switched};

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::listed::Listed;
use crate::views::mongodb::reset::drop_older;
use crate::views::mongodb::server::Server;
use crate::views::mongodb::state::{CHECKPOINTS, State, collection_of};
use crate::views::mongodb::transaction::{Patience, begin, end, put};
use crate::views::slot::Slot;

/// A change of the checkpoint that begins a new epoch.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nothing else.
    Fence,
    /// Held by this one, or by nobody any more.
    Hold(Option<Hold>),
}

/// Changes the checkpoint, and returns it.
pub(super) async fn change<P: Listed>(server: &Server, change: Change) -> Result<Checkpoint, Fault> {
    let (mut session, mut patience, id) = (server.writer().await?, Patience::new(), ObjectId::new());
    let changed = loop {
        begin(&mut session).await?;
        let changed = change_once::<P>(server, &mut session, &change, id).await;
        match end(&mut session, changed).await {
            Ok(checkpoint) => break checkpoint,
            Err(fault) => patience.pause(server, &session, fault).await?,
        }
    };
    server.give_back(session);
    Ok(changed)
}

async fn change_once<P: Listed>(
    server: &Server,
    session: &mut ClientSession,
    change: &Change,
    id: ObjectId,
) -> Result<Checkpoint, Fault> {
    let state = State::read::<P>(server, session).await?;
    if state.saved_by == Some(id) {
        return Ok(state.checkpoint);
    }
    let mut checkpoint = Checkpoint { epoch: state.checkpoint.epoch + 1, ..state.checkpoint };
    if let Change::Hold(held) = change {
        checkpoint.held.clone_from(held);
    }
    // Where there is no collection yet, the first batch names one: 0 is none.
    let build = state.build.unwrap_or(0);
    let collection = state.collection.unwrap_or_else(|| collection_of::<P>(build));
    let stored = State::stored::<P>(server.slot, build, collection, checkpoint.clone(), id);
    put(server, session, CHECKPOINTS, &[stored.document()?]).await?;
    Ok(checkpoint)
}

/// Makes the indexes of the views beside, and switches to them.
pub(super) async fn switch<P: Listed>(server: &Server) -> Result<Switched, Fault> {
    let (mut session, mut patience, id) = (server.writer().await?, Patience::new(), ObjectId::new());
    if let Some(collection) = State::of_slot::<P>(server, &mut session, Slot::Beside).await?.collection {
        server.furnish(&collection, P::indexes()).await?;
    }
    let switched = loop {
        begin(&mut session).await?;
        let switched = switch_once::<P>(server, &mut session, id).await;
        match end(&mut session, switched).await {
            Ok(switched) => break switched,
            Err(fault) => patience.pause(server, &session, fault).await?,
        }
    };
    server.give_back(session);
    if switched == Switched::Yes {
        drop_older::<P>(server).await;
    }
    Ok(switched)
}

async fn switch_once<P: Listed>(server: &Server, session: &mut ClientSession, id: ObjectId) -> Result<Switched, Fault> {
    let shown = State::of_slot::<P>(server, session, Slot::Shown).await?;
    if shown.saved_by == Some(id) {
        return Ok(Switched::Yes);
    }
    let beside = State::of_slot::<P>(server, session, Slot::Beside).await?;
    let (Some(build), Some(collection)) = (beside.build, beside.collection) else { return Ok(Switched::Nothing) };
    if beside.checkpoint.position < shown.checkpoint.position {
        return Ok(Switched::Behind);
    }
    let left = beside.checkpoint.clone().thrown_away();
    let checkpoint = Checkpoint { epoch: shown.checkpoint.epoch + 1, held: shown.checkpoint.held, ..beside.checkpoint };
    let now_shown = State::stored::<P>(Slot::Shown, build, collection, checkpoint, id);
    // The document beside stays, so that its numbers go on from where they were.
    let nothing = State::stored::<P>(Slot::Beside, build, collection_of::<P>(build), left, id);
    put(server, session, CHECKPOINTS, &[now_shown.document()?, nothing.document()?]).await?;
    Ok(Switched::Yes)
}
