//! Views in memory: for replay, for tests, and for a log that lives in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};
use crate::projection::Projection;

struct State<P: Projection> {
    views: BTreeMap<P::Key, P::View>,
    checkpoint: Checkpoint,
}

/// The views of one projection in memory.
pub struct MemoryViews<P: Projection> {
    state: Mutex<State<P>>,
}

impl<P: Projection> Default for MemoryViews<P> {
    fn default() -> Self {
        Self { state: Mutex::new(State { views: BTreeMap::new(), checkpoint: Checkpoint::START }) }
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
        state.checkpoint = Checkpoint::START;
        Ok(())
    }
}
