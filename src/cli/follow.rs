//! Shows a run while it goes on, and sums it up from the log when it is over.

use std::sync::{Arc, Mutex, PoisonError};

use testledger_schemas::{ExecutionId, Plan};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::bus::Update;
use crate::cli::exit::Failure;
use crate::engine::Engine;
use crate::event_store::{EventLog, StoreError};
use crate::report::model::RunReport;
use crate::report::terminal::Progress;

/// How many commits of a stream are read at once.
const COMMITS_AT_ONCE: usize = 1_000;

/// The progress of a run, fed by a task of its own.
pub struct Follower {
    progress: Arc<Mutex<Progress>>,
    task: tokio::task::JoinHandle<bool>,
}

impl Follower {
    /// Shows what this engine does from now on.
    #[must_use]
    pub fn start(engine: &Engine, progress: Progress) -> Self {
        let progress = Arc::new(Mutex::new(progress));
        let task = tokio::spawn(follow(engine.bus().subscribe(), Arc::clone(&progress)));
        Self { progress, task }
    }

    /// Says something between the lines.
    pub fn note(&self, text: &str) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).note(text);
    }

    /// Ends after what was told until now. If not everything was seen (the terminal was too slow, or `read_anew` says
    /// that the execution began before), the report is read from the log.
    ///
    /// # Errors
    /// [`Failure`] if the log cannot be read.
    pub async fn finish(
        self,
        engine: &Engine,
        root: ExecutionId,
        plan: &Plan,
        read_anew: bool,
    ) -> Result<Arc<Mutex<Progress>>, Failure> {
        engine.bus().publish(Update::Closed);
        let complete = self.task.await.unwrap_or(false);
        if read_anew || !complete {
            let report = read_report(engine.journal.log.as_ref(), root, plan).await?;
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).set_report(report);
        }
        Ok(self.progress)
    }
}

/// Returns whether nothing was missed.
async fn follow(mut updates: Receiver<Update>, progress: Arc<Mutex<Progress>>) -> bool {
    let mut complete = true;
    loop {
        let update = updates.recv().await;
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        match update {
            Ok(Update::Acknowledged(news)) => {
                for event in news.events.iter() {
                    progress.event_at(news.execution, news.recorded_at, event);
                }
            }
            Ok(Update::Output(output)) => progress.live(&output),
            Ok(Update::Closed) | Err(RecvError::Closed) => return complete,
            Err(RecvError::Lagged(_)) => complete = false,
        }
    }
}

/// The report of a run that is over, from the log.
///
/// # Errors
/// [`StoreError`] if the log cannot be read.
pub async fn read_report(log: &dyn EventLog, root: ExecutionId, plan: &Plan) -> Result<RunReport, StoreError> {
    let mut report = RunReport::default();
    let children = plan.cases.iter().filter(|_| plan.is_suite);
    let children = children.map(|case| ExecutionId::child_of(root, &case.id, &case.matrix));
    for execution in std::iter::once(root).chain(children) {
        let mut after = 0;
        loop {
            let commits = log.read_stream(execution.into(), after, COMMITS_AT_ONCE).await?;
            let Some(last) = commits.last() else { break };
            after = last.id.number;
            for commit in &commits {
                for event in commit.events.iter().filter_map(|recorded| recorded.read().ok()) {
                    report.apply(execution, commit.recorded_at, &event);
                }
            }
        }
    }
    Ok(report)
}
