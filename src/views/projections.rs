//! All projections of one log: how far they are, who folds them, rebuilding, holding, comparing with a replay.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_projections::executions::Executions;
use testledger_projections::flaky_steps::FlakySteps;
use testledger_projections::ports::{Hold, Leases, ManagedStore, ViewStoreError};
use testledger_projections::projection::Projection;
use testledger_projections::router::{Route, Routing};
use testledger_projections::traces::Traces;
use testledger_projections::worker::CatchUpError;
use testledger_projections::worker::follow::{Done, Follower};
use testledger_projections::worker::rebuild::{Rebuild, Rebuilt};
use testledger_schemas::Timestamp;
use testledger_schemas::commit::CommitId;
use tokio_util::sync::CancellationToken;

use crate::event_store::{SharedLog, StoreError};
use crate::views::ViewError;
use crate::views::compare::{Compared, compare};
use crate::views::feed::LogFeed;
use crate::views::mongodb::{Database, MongoLeases, MongoViews};
use crate::views::sqlite::{SqliteLeases, SqliteViews};

/// A projection, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// What lists and summaries show.
    Executions,
    /// Timelines.
    Traces,
    /// Statistics of steps.
    FlakySteps,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Executions, Self::Traces, Self::FlakySteps];

    /// The name as people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executions => Executions::NAME,
            Self::Traces => Traces::NAME,
            Self::FlakySteps => FlakySteps::NAME,
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| format!("no projection is called `{text}`: there are {}", names()))
    }
}

/// All projections of one log, in the store that the log is in.
pub struct Projections {
    log: SharedLog,
    feed: LogFeed,
    executions: Arc<dyn ManagedStore<Executions>>,
    traces: Arc<dyn ManagedStore<Traces>>,
    /// The fold of traces, as it is set.
    set: Traces,
    flaky_steps: Arc<dyn ManagedStore<FlakySteps>>,
    leases: Arc<dyn Leases>,
}

/// Does something with the fold and the store of a projection.
macro_rules! with {
    ($all:expr, $name:expr, |$projection:ident, $store:ident| $body:expr) => {
        match $name {
            Name::Executions => {
                let ($projection, $store) = (&Executions, &$all.executions);
                $body
            }
            Name::Traces => {
                let ($projection, $store) = (&$all.set, &$all.traces);
                $body
            }
            Name::FlakySteps => {
                let ($projection, $store) = (&FlakySteps, &$all.flaky_steps);
                $body
            }
        }
    };
}

/// How one projection is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The version of its fold.
    pub version: u32,
    /// The last position that is folded in.
    pub position: u64,
    /// The last position of the log.
    pub head: u64,
    /// How many events are not folded in yet.
    pub behind_events: u64,
    /// How long ago the first of them was recorded, by the clock of its writer, in milliseconds; 0 if there is none.
    pub behind_ms: u64,
    /// The projector's epoch: grows when a worker takes over, and when somebody pauses or resumes.
    pub epoch: u64,
    /// The worker that has the lease; none where views are brought up to date by whoever asks.
    pub worker: Option<String>,
    /// Who paused it, if somebody did.
    pub paused_by: Option<String>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// The position of the event that it waits at, because that cannot be read.
    pub poison_position: Option<u64>,
    /// Why not.
    pub poison_reason: Option<String>,
    /// How far a rebuild has come beside the views that are read, if one is open.
    pub rebuilt_to: Option<u64>,
    /// Who rebuilds at this moment.
    pub rebuilt_by: Option<String>,
}

/// How all projections of a log are: the output of `projections status --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ProjectionsStatus {
    /// One after the other.
    pub projections: Vec<ProjectionStatus>,
}

/// What a worker did for one projection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worked {
    /// The projection.
    pub name: Name,
    /// How many events it folded.
    pub folded: u64,
    /// How many commits went which way.
    pub commits: Vec<(Route, u64)>,
    /// How often the log or the store failed.
    pub failures: u64,
}

impl Projections {
    /// Those beside a log in SQLite, in the same file.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the file cannot be opened.
    pub async fn sqlite(log: SharedLog, path: &Path) -> Result<Self, ViewStoreError> {
        Ok(Self {
            feed: LogFeed::new(log.clone()),
            log,
            executions: SqliteViews::<Executions>::open(path).await?,
            traces: SqliteViews::<Traces>::open(path).await?,
            set: Traces::default(),
            flaky_steps: SqliteViews::<FlakySteps>::open(path).await?,
            leases: SqliteLeases::open(path).await?,
        })
    }

    /// Those beside a log in MongoDB, in the same database.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the database cannot be reached.
    pub async fn mongodb(log: SharedLog, database: &Database) -> Result<Self, ViewStoreError> {
        Ok(Self {
            feed: LogFeed::new(log.clone()),
            log,
            executions: MongoViews::<Executions>::open(database).await?,
            traces: MongoViews::<Traces>::open(database).await?,
            set: Traces::default(),
            flaky_steps: MongoViews::<FlakySteps>::open(database).await?,
            leases: MongoLeases::new(database),
        })
    }

    /// The same, where traces that are begun from now on embed so many items.
    #[must_use]
    pub fn with_threshold(self, items: u64) -> Self {
        Self { set: Traces::with_threshold(items), ..self }
    }

    /// How all of them are. `now` is the time by the clock of whoever asks.
    ///
    /// # Errors
    /// [`ViewError`] of the log or the store.
    pub async fn status(&self, now: Timestamp) -> Result<ProjectionsStatus, ViewError> {
        let mut projections = vec![];
        for name in Name::ALL {
            projections.push(with!(self, name, |_projection, store| self.status_of(&**store, now).await)?);
        }
        Ok(ProjectionsStatus { projections })
    }

    async fn status_of<P: Projection>(
        &self,
        store: &dyn ManagedStore<P>,
        now: Timestamp,
    ) -> Result<ProjectionStatus, ViewError> {
        let checkpoint = store.checkpoint().await?;
        let beside = store.beside().checkpoint().await?;
        let head = self.log.last_page().await?.last_position();
        let holder = async |name: &str| Ok::<_, ViewError>(self.leases.current(name).await?.map(|lease| lease.holder));
        Ok(ProjectionStatus {
            name: P::NAME,
            version: P::VERSION,
            position: checkpoint.position,
            head,
            behind_events: head.saturating_sub(checkpoint.position),
            behind_ms: self.waited(checkpoint.position, now).await?,
            epoch: checkpoint.epoch,
            worker: holder(P::NAME).await?,
            paused_by: checkpoint.held.as_ref().map(|hold| hold.by.clone()),
            paused_at: checkpoint.held.as_ref().map(|hold| hold.at),
            poison_position: checkpoint.paused.as_ref().map(|poison| poison.position),
            poison_reason: checkpoint.paused.map(|poison| poison.reason),
            rebuilt_to: (beside.position > 0).then_some(beside.position),
            rebuilt_by: holder(&format!("{}.rebuild", P::NAME)).await?,
        })
    }

    /// How long the event after a position has been recorded, in milliseconds; 0 if there is none, or it cannot be read.
    async fn waited(&self, position: u64, now: Timestamp) -> Result<u64, StoreError> {
        let Some(page) = self.log.page_of(position + 1).await? else { return Ok(0) };
        let mut first = page.first_position;
        let mut entry: Option<CommitId> = None;
        for each in &page.entries {
            entry = Some(each.commit);
            first += each.events;
            if first > position + 1 {
                break;
            }
        }
        let Some(commit) = entry else { return Ok(0) };
        let found = self.log.read_commits(&[commit]).await?.pop().flatten();
        Ok(found.map_or(0, |commit| u64::try_from(now.unix_ms() - commit.recorded_at.unix_ms()).unwrap_or(0)))
    }

    /// Folds these projections as long as it may, until it is stopped. `holder` is a name that no other worker has.
    pub async fn work(&self, names: &[Name], holder: &str, routing: &Routing, stop: &CancellationToken) -> Vec<Worked> {
        let one = |name: Name| async move {
            let done = Done::default();
            if !names.contains(&name) {
                return None;
            }
            with!(self, name, |projection, store| {
                let (feed, leases) = (&self.feed, &*self.leases);
                let (routing, done) = (routing.clone(), &done);
                Follower { projection, feed, store: &**store, leases, holder, routing, done }.work(stop).await;
            });
            let commits = Route::ALL.map(|route| (route, done.commits(route))).to_vec();
            Some(Worked { name, folded: done.folded(), commits, failures: done.failures() })
        };
        let [executions, traces, flaky_steps] = Name::ALL;
        let (executions, traces, flaky_steps) = tokio::join!(one(executions), one(traces), one(flaky_steps));
        [executions, traces, flaky_steps].into_iter().flatten().collect()
    }

    /// Brings these projections up to the end of the log as it is now. Returns those that stopped before it.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(
        &self,
        names: &[Name],
    ) -> Result<Vec<(Name, testledger_projections::worker::Progress)>, CatchUpError> {
        let mut all = vec![];
        for name in names {
            let progress = with!(self, *name, |projection, store| {
                testledger_projections::worker::catch_up(projection, &self.feed, &**store, None).await?
            });
            all.push((*name, progress));
        }
        Ok(all)
    }

    /// Folds a projection anew beside the views that are read, and puts the new ones in their place.
    ///
    /// # Errors
    /// [`CatchUpError`]; the next attempt goes on where this one came to.
    pub async fn rebuild(
        &self,
        name: Name,
        holder: &str,
        afresh: bool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Rebuilt, CatchUpError> {
        with!(self, name, |projection, store| {
            let (feed, leases) = (&self.feed, &*self.leases);
            Rebuild { projection, feed, store: &**store, leases, holder }.run(afresh, progress).await
        })
    }

    /// Nobody folds the projection any more until it is resumed. What is in the middle of a batch is not written.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn pause(&self, name: Name, by: Hold) -> Result<(), ViewStoreError> {
        with!(self, name, |_projection, store| store.hold(Some(by)).await)
    }

    /// The projection is folded again.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn resume(&self, name: Name) -> Result<(), ViewStoreError> {
        with!(self, name, |_projection, store| store.hold(None).await)
    }

    /// Takes what a rebuild that was broken off has left away: text that was erased since may stand in it.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn follow_erasure(&self) -> Result<(), ViewStoreError> {
        for name in Name::ALL {
            with!(self, name, |_projection, store| {
                let beside = store.beside();
                if beside.checkpoint().await?.position > 0 {
                    beside.reset().await?;
                }
            });
        }
        Ok(())
    }

    /// Folds every projection anew in memory, as far as its views have come, and names every difference.
    ///
    /// # Errors
    /// [`ViewError`] of the log or the store.
    pub async fn compare(&self) -> Result<Vec<Compared>, ViewError> {
        let mut all = vec![];
        for name in Name::ALL {
            all.push(with!(self, name, |projection, store| compare(projection, &self.log, &**store).await)?);
        }
        Ok(all)
    }
}
