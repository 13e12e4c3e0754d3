//! The task that drives the sequencer of one handle: from the change stream into pages.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event_store::faults::Dice;
use crate::event_store::memory::store::{Durable, News, Store};
use crate::event_store::sequencer::{Candidate, Offered, Sequencer};

/// The change stream brings a commit after 1 to so many milliseconds.
const MAX_LAG_MS: u64 = 5;
/// A repeated delivery is one of the last so many.
const REPEATED: u64 = 8;

/// Follows the change stream until it is stopped.
pub(super) async fn follow(durable: Arc<Durable>, news: Arc<News>, dice: Dice, stop: CancellationToken) {
    let mut written = news.written.subscribe();
    let mut sequencer = Sequencer::resume(durable.with(|store| store.last_page().clone()));
    loop {
        let from = place_of(sequencer.token());
        let more = async {
            // This task holds the sender: waiting cannot fail.
            drop(written.wait_for(|written| *written > from).await);
            tokio::time::sleep(Duration::from_millis(1 + dice.below(MAX_LAG_MS))).await;
        };
        if stop.run_until_cancelled(more).await.is_none() {
            return;
        }
        durable.with(|store| round(store, &dice, &mut sequencer, from));
    }
}

/// Reads what the change stream has, and inserts one page.
fn round(store: &mut Store, dice: &Dice, sequencer: &mut Sequencer, from: u64) {
    for place in from..store.changes.len() as u64 {
        let repeated = dice.delivers_twice().then(|| place - dice.below(REPEATED.min(place + 1)));
        let delivered = [Some(place), repeated];
        if delivered.into_iter().flatten().any(|which| offer(store, sequencer, which, place) == Offered::Full) {
            break;
        }
    }
    let Some(page) = sequencer.seal() else { return };
    let answered = !dice.is_unavailable() && store.insert_page(page) && !dice.loses_ack();
    if !answered {
        // Lost to another sequencer, or not known: only the last page tells.
        tracing::debug!("a page was not acknowledged");
    }
    *sequencer = Sequencer::resume(store.last_page().clone());
}

fn offer(store: &Store, sequencer: &mut Sequencer, which: u64, place: u64) -> Offered {
    let id = usize::try_from(which).ok().and_then(|which| store.changes.get(which));
    // Commits are never taken out of the store: every id of the change stream has one.
    let Some(commit) = id.and_then(|id| store.commits.get(id)) else { return Offered::Known };
    sequencer.offer(&Candidate::checked(commit), &(place + 1).to_string(), store.sequenced(commit.id))
}

/// The token of this change stream is the number of commits before what follows.
fn place_of(token: Option<&str>) -> u64 {
    token.and_then(|token| token.parse().ok()).unwrap_or(0)
}
