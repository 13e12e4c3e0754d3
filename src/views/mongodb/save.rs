//! One batch of views and its checkpoint, written in one transaction.

use bson::oid::ObjectId;
use bson::raw::RawDocumentBuf;
use mongodb::ClientSession;
use testledger_projections::ports::{Checkpoint, Saved};

use crate::views::mongodb::errors::Fault;
use crate::views::mongodb::listed::Listed;
use crate::views::mongodb::reset::drop_older;
use crate::views::mongodb::server::Server;
use crate::views::mongodb::state::{CHECKPOINTS, State, Stored, collection_of};
use crate::views::mongodb::transaction::{Patience, begin_in, end, put};
use crate::views::slot::Slot;

/// A batch that is to be saved.
pub(super) struct Save {
    pub(super) before: Checkpoint,
    pub(super) after: Checkpoint,
    pub(super) documents: Vec<RawDocumentBuf>,
    /// Tells this save from every other, also from one of another worker that leads to the same place.
    pub(super) id: ObjectId,
}

impl Save {
    /// Saves it, unless another worker was faster.
    pub(super) async fn carry_out<P: Listed>(self, server: &Server) -> Result<Saved, Fault> {
        let (mut session, mut patience) = (server.writer().await?, Patience::new());
        let saved = loop {
            match self.once::<P>(server, &mut session).await {
                Ok(saved) => break saved,
                Err(fault) => patience.pause(server, &session, fault).await?,
            }
        };
        server.give_back(session);
        if saved == Saved::Yes && self.before.position == 0 {
            drop_older::<P>(server).await;
        }
        Ok(saved)
    }

    async fn once<P: Listed>(&self, server: &Server, session: &mut ClientSession) -> Result<Saved, Fault> {
        let fresh = match self.before.position {
            0 => self.fresh::<P>(server, session).await?,
            _ => None,
        };
        begin_in(session, server.slot).await?;
        let written = self.write::<P>(server, session, fresh).await;
        end(session, written).await
    }

    /// The number of an empty collection, for a fold from the first event; none if that has begun already.
    async fn fresh<P: Listed>(&self, server: &Server, session: &mut ClientSession) -> Result<Option<u64>, Fault> {
        let state = State::read::<P>(server, session).await?;
        if !state.checkpoint.is_same_place(&self.before) {
            return Ok(None);
        }
        let build = State::next_build::<P>(server, session).await?;
        // Nobody asks the views beside anything before the switch, which makes their indexes: all at once is far cheaper.
        let indexes = if server.slot == Slot::Shown { P::indexes() } else { vec![] };
        server.furnish(&collection_of::<P>(build), indexes).await?;
        Ok(Some(build))
    }

    async fn write<P: Listed>(
        &self,
        server: &Server,
        session: &mut ClientSession,
        fresh: Option<u64>,
    ) -> Result<Saved, Fault> {
        let state = State::read::<P>(server, session).await?;
        if state.saved_by == Some(self.id) {
            return Ok(Saved::Yes);
        }
        if !state.checkpoint.is_same_place(&self.before) {
            return Ok(Saved::Overtaken);
        }
        let stored = self.stored::<P>(server, state, fresh)?;
        // The checkpoint comes first: who is second learns it before it has sent its views.
        put(server, session, CHECKPOINTS, &[stored.document()?]).await?;
        put(server, session, &stored.collection, &self.documents).await?;
        Ok(Saved::Yes)
    }

    fn stored<P: Listed>(&self, server: &Server, state: State, fresh: Option<u64>) -> Result<Stored, Fault> {
        let (build, collection) = match (fresh, state.build, state.collection) {
            (Some(fresh), named, _) if named.is_none_or(|named| named < fresh) => (fresh, collection_of::<P>(fresh)),
            (None, Some(named), Some(collection)) => (named, collection),
            // Another worker named a collection in between.
            (Some(_) | None, _, _) => return Err(Fault::Again("the collection is another one now".to_owned())),
        };
        Ok(State::stored::<P>(server.slot, build, collection, self.after.clone(), self.id))
    }
}
