//! Views in memory: for replay, for tests, and for a log that lives in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ports::{Checkpoint, Hold, ManagedStore, Saved, StoredView, Switched, ViewStore, ViewStoreError};
use crate::projection::Projection;

struct State<P: Projection> {
    views: BTreeMap<P::Key, P::View>,
    checkpoint: Checkpoint,
}

/// The views of one projection in memory.
pub struct MemoryViews<P: Projection> {
    state: Mutex<State<P>>,
    /// The views that are folded beside these.
    beside: Mutex<Option<Arc<Self>>>,
}

impl<P: Projection> Default for MemoryViews<P> {
    fn default() -> Self {
        let state = State { views: BTreeMap::new(), checkpoint: Checkpoint::START };
        Self { state: Mutex::new(state), beside: Mutex::new(None) }
    }
}

impl<P: Projection> MemoryViews<P> {
    /// All views, by key.
    #[must_use]
    pub fn all(&self) -> BTreeMap<P::Key, P::View> {
        self.state().views.clone()
    }

    /// What `read` makes of the views, without a copy of them.
    pub fn with<T>(&self, read: impl FnOnce(&BTreeMap<P::Key, P::View>) -> T) -> T {
        read(&self.state().views)
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        // Every change is made whole under the lock, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<P: Projection> ViewStore<P> for MemoryViews<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        Ok(self.state().checkpoint.clone())
    }

    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        let state = self.state();
        Ok(keys.iter().map(|key| state.views.get(key).cloned()).collect())
    }

    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let mut state = self.state();
        if !state.checkpoint.is_same_place(before) {
            return Ok(Saved::Overtaken);
        }
        state.views.extend(views);
        state.checkpoint = after.clone();
        Ok(Saved::Yes)
    }

    async fn reset(&self) -> Result<(), ViewStoreError> {
        let mut state = self.state();
        state.views.clear();
        state.checkpoint = state.checkpoint.clone().thrown_away();
        Ok(())
    }
}

#[async_trait]
impl<P: Projection> ManagedStore<P> for MemoryViews<P> {
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError> {
        let mut state = self.state();
        state.checkpoint.epoch += 1;
        Ok(state.checkpoint.clone())
    }

    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError> {
        let mut state = self.state();
        state.checkpoint.epoch += 1;
        state.checkpoint.held = hold;
        Ok(())
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<P>>, ViewStoreError> {
        // Keys are not ordered as their texts are.
        let state = self.state();
        let by_text: BTreeMap<String, &P::View> =
            state.views.iter().map(|(key, view)| (key.to_string(), view)).collect();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = by_text.range::<str, _>((from, Bound::Unbounded)).take(limit);
        Ok(found.map(|(key, view)| (key.clone(), Ok((*view).clone()))).collect())
    }

    fn beside(&self) -> Arc<dyn ViewStore<P>> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(beside.get_or_insert_with(Arc::default)) as Arc<dyn ViewStore<P>>
    }

    async fn switch(&self) -> Result<Switched, ViewStoreError> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folded) = beside.as_ref() else { return Ok(Switched::Nothing) };
        let (mut shown, mut folded) = (self.state(), folded.state());
        if folded.checkpoint.position == 0 {
            return Ok(Switched::Nothing);
        }
        if folded.checkpoint.position < shown.checkpoint.position {
            return Ok(Switched::Behind);
        }
        shown.checkpoint = Checkpoint {
            epoch: shown.checkpoint.epoch + 1,
            held: shown.checkpoint.held.clone(),
            ..folded.checkpoint.clone()
        };
        shown.views = std::mem::take(&mut folded.views);
        drop(folded);
        *beside = None;
        Ok(Switched::Yes)
    }
}
