//! The statistics of steps: where they are kept, how they are brought up to date, and what may be asked of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use testledger_projections::flaky_steps::{
    Bucket, Days, FlakyKey, FlakySteps, FlakyView, MAX_WINDOW_DAYS, MassFailures, Window, WindowSums, left_out,
};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{ManagedStore, ViewStoreError};
use testledger_projections::worker::{self, CatchUpError, Progress};
use testledger_schemas::{ExecutionId, StepKey};

use crate::event_store::SharedLog;
use crate::views::feed::LogFeed;
use crate::views::mongodb::{Database, MongoViews};
use crate::views::sqlite::SqliteViews;

/// How many buckets are read at once: more than a step can have in one window, so each piece has a whole step.
const BUCKETS_AT_ONCE: usize = MAX_WINDOW_DAYS as usize + 134;
/// The windows of how many steps are loaded at once.
const STEPS_AT_ONCE: usize = 16;

/// Questions about the buckets of steps.
#[async_trait]
pub trait StepQueries: Send + Sync {
    /// The buckets of these days, of the steps whose keys come after `after`, by step and then by day, at most `limit`:
    /// the last step may not be whole.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn buckets(&self, after: Option<StepKey>, days: Days, limit: usize) -> Result<Vec<Bucket>, ViewStoreError>;

    /// What the windows of all steps add up to, without the runs of these roots, in the order of their keys. Of steps of
    /// which these days say something.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn sums(&self, days: Days, left_out: &BTreeSet<ExecutionId>) -> Result<Vec<WindowSums>, ViewStoreError>;

    /// The first step whose key, as text, is not less than `least`.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn first_from(&self, least: &str) -> Result<Option<StepKey>, ViewStoreError>;
}

/// A store that keeps the statistics of steps and answers questions about them.
pub trait StepStore: ManagedStore<FlakySteps> + StepQueries + 'static {}

impl<T: ManagedStore<FlakySteps> + StepQueries + 'static> StepStore for T {}

/// The bucket, if the document is one.
pub(super) fn bucket(view: FlakyView) -> Option<Bucket> {
    match view {
        FlakyView::Bucket(bucket) => Some(*bucket),
        FlakyView::Run(_) | FlakyView::MassFailures(_) => None,
    }
}

/// Goes through the buckets of these days, step by step in the order of their keys. Only some hundred are in memory at a
/// time.
async fn each_step<S: StepQueries + ?Sized>(
    store: &S,
    days: Days,
    mut see: impl FnMut(&[Bucket]) + Send,
) -> Result<(), ViewStoreError> {
    let mut after = None;
    loop {
        let mut buckets = store.buckets(after, days, BUCKETS_AT_ONCE).await?;
        let is_end = buckets.len() < BUCKETS_AT_ONCE;
        // The last step of a full piece may go on: it is read again, as the first of the next one.
        if let Some(last) = buckets.last().map(|bucket| bucket.step_key).filter(|_| !is_end) {
            buckets.retain(|bucket| bucket.step_key != last);
        }
        buckets.chunk_by(|a, b| a.step_key == b.step_key).for_each(&mut see);
        match buckets.last() {
            Some(last) if !is_end => after = Some(last.step_key),
            Some(_) | None => return Ok(()),
        }
    }
}

/// The window of a step: all its buckets of these days, at least one.
fn window(buckets: &[Bucket], days: Days, left_out: &BTreeSet<ExecutionId>) -> Window {
    Window::of(buckets[0].step_key, days, buckets, left_out)
}

/// The sums of a store that cannot count for itself.
pub(super) async fn sums<S: StepQueries + ?Sized>(
    store: &S,
    days: Days,
    left_out: &BTreeSet<ExecutionId>,
) -> Result<Vec<WindowSums>, ViewStoreError> {
    let mut sums = vec![];
    let see = |step: &[Bucket]| sums.push(window(step, days, left_out).sums());
    each_step(store, days, see).await?;
    Ok(sums)
}

#[async_trait]
impl StepQueries for MemoryViews<FlakySteps> {
    async fn buckets(&self, after: Option<StepKey>, days: Days, limit: usize) -> Result<Vec<Bucket>, ViewStoreError> {
        let is_asked = |it: &&Bucket| after.is_none_or(|key| key < it.step_key) && days.contains(it.day);
        // Keys of buckets are ordered by step and day.
        Ok(self
            .with(|views| views.values().filter_map(FlakyView::bucket).filter(is_asked).take(limit).cloned().collect()))
    }

    async fn sums(&self, days: Days, left_out: &BTreeSet<ExecutionId>) -> Result<Vec<WindowSums>, ViewStoreError> {
        sums(self, days, left_out).await
    }

    async fn first_from(&self, least: &str) -> Result<Option<StepKey>, ViewStoreError> {
        let steps = |views: &std::collections::BTreeMap<FlakyKey, FlakyView>| {
            let mut keys = views.values().filter_map(FlakyView::bucket).map(|bucket| bucket.step_key);
            keys.find(|key| *key.to_string() >= *least)
        };
        Ok(self.with(steps))
    }
}

/// The statistics of the steps of one log.
#[derive(Clone)]
pub struct StepViews {
    feed: LogFeed,
    log: SharedLog,
    store: Arc<dyn StepStore>,
}

impl StepViews {
    /// Statistics beside a log in SQLite, in the same file.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the file cannot be opened or its table not be made.
    pub async fn sqlite(log: SharedLog, path: &Path) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, SqliteViews::<FlakySteps>::open(path).await?))
    }

    /// Statistics beside a log in MongoDB, in the same database.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the database cannot be reached or its collections not be made.
    pub async fn mongodb(log: SharedLog, database: &Database) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, MongoViews::<FlakySteps>::open(database).await?))
    }

    /// Statistics in memory.
    #[must_use]
    pub fn memory(log: SharedLog) -> Self {
        Self::over(log, Arc::new(MemoryViews::<FlakySteps>::default()))
    }

    /// Statistics in any store.
    #[must_use]
    pub fn over(log: SharedLog, store: Arc<dyn StepStore>) -> Self {
        Self { feed: LogFeed::new(log.clone()), log, store }
    }

    /// The log they are folded from.
    #[must_use]
    pub fn log(&self) -> &SharedLog {
        &self.log
    }

    /// Brings the statistics up to the end of the log as it is now. Where an event cannot be read they stay before it,
    /// and [`Progress::paused`] says so.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self) -> Result<Progress, CatchUpError> {
        worker::catch_up(&FlakySteps, &self.feed, &*self.store, None).await
    }

    /// The window of one step; none where these days say nothing of it.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn window(&self, step_key: StepKey, days: Days) -> Result<Option<Window>, ViewStoreError> {
        let left_out = self.left_out(days).await?;
        Ok(self.load(&[step_key], days, &left_out).await?.pop())
    }

    /// Goes through the windows of all steps of which these days say something, in the order of their keys. Only some
    /// hundred buckets are in memory at a time. Returns how many steps there are.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn each_window(&self, days: Days, mut see: impl FnMut(Window) + Send) -> Result<u64, ViewStoreError> {
        let (left_out, mut count) = (self.left_out(days).await?, 0);
        let each = |step: &[Bucket]| {
            count += 1;
            see(window(step, days, &left_out));
        };
        each_step(&*self.store, days, each).await?;
        Ok(count)
    }

    /// As [`Self::each_window`], without the steps that have nothing to tell: the store adds up which those are.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn each_telling_window(
        &self,
        days: Days,
        mut see: impl FnMut(Window) + Send,
    ) -> Result<u64, ViewStoreError> {
        let left_out = self.left_out(days).await?;
        let sums = self.store.sums(days, &left_out).await?;
        let telling: Vec<StepKey> = sums.iter().filter(|it| it.may_tell()).map(|it| it.step_key).collect();
        for steps in telling.chunks(STEPS_AT_ONCE) {
            self.load(steps, days, &left_out).await?.into_iter().for_each(&mut see);
        }
        Ok(sums.len() as u64)
    }

    /// What the windows of all steps add up to, in the order of their keys.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn sums(&self, days: Days) -> Result<Vec<WindowSums>, ViewStoreError> {
        let left_out = self.left_out(days).await?;
        self.store.sums(days, &left_out).await
    }

    /// The runs that the windows of these days leave out.
    async fn left_out(&self, days: Days) -> Result<BTreeSet<ExecutionId>, ViewStoreError> {
        let registers = self.store.load(&Window::registers(days).collect::<Vec<_>>()).await?;
        let registers: Vec<MassFailures> =
            registers.iter().flatten().filter_map(FlakyView::mass_failures).cloned().collect();
        Ok(left_out(&registers))
    }

    /// The windows of these steps, which are in order, without those of which these days say nothing.
    async fn load(
        &self,
        steps: &[StepKey],
        days: Days,
        left_out: &BTreeSet<ExecutionId>,
    ) -> Result<Vec<Window>, ViewStoreError> {
        let keys: Vec<FlakyKey> = steps.iter().flat_map(|step| Window::buckets(*step, days)).collect();
        let buckets: Vec<Bucket> = self.store.load(&keys).await?.into_iter().flatten().filter_map(bucket).collect();
        Ok(buckets.chunk_by(|a, b| a.step_key == b.step_key).map(|step| window(step, days, left_out)).collect())
    }

    /// Steps whose key begins so (lower case), at most `limit`.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<StepKey>, ViewStoreError> {
        let (mut found, mut least) = (vec![], prefix.to_owned());
        while found.len() < limit {
            let Some(key) = self.store.first_from(&least).await? else { break };
            let text = key.to_string();
            if !text.starts_with(prefix) {
                break;
            }
            found.push(key);
            // `g` comes after every character of a key: the next step, whatever its key is.
            least = format!("{text}g");
        }
        Ok(found)
    }
}
