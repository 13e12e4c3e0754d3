//! A log that ends too early: everything after some commit never happened, and an engine comes to recover the rest.

use testledger::event_store::EventLog;
use testledger::ports::fault;
use testledger_schemas::Event;

use crate::fates::{Deaths, Fates};
use crate::life::{BEGINNING_MS, Life};
use crate::remains::Run;
use crate::world::{UNDISTURBED, World};

impl World {
    /// What an engine makes of so many commits of a log of this world: the others, and all engines before it, are gone.
    pub fn recovered_from(&self, whole: &Run, count: usize) -> Run {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let fates = Fates::default();
        fates.begin(Deaths::default());
        let run = runtime.block_on(self.recover_here(whole, count, fates));
        fault::watch(None);
        run
    }

    async fn recover_here(&self, whole: &Run, count: usize, fates: Fates) -> Run {
        let shared = self.shared(fates);
        // An artifact is kept before anything speaks of it.
        for artifact in whole.truth.list_artifacts(None, usize::MAX).await.unwrap() {
            let bytes = whole.truth.get_artifact(artifact.hash).await.unwrap().unwrap();
            shared.truth.put_artifact(bytes).await.unwrap();
        }
        let mut commits = whole.in_order();
        commits.truncate(count);
        for commit in &commits {
            shared.truth.append((*commit).clone()).await.unwrap();
            commit.worker.iter().for_each(|worker| shared.leases.prove_dead(*worker));
            for event in &commit.events {
                if let Event::StepStarted(step) = event.read().unwrap() {
                    let mark = step.content.kept().unwrap().inputs[1].clone();
                    *shared.marks.lock().unwrap().begun.entry(mark).or_default() += 1;
                }
            }
        }
        // It is the time at which the log ends.
        let now = commits.iter().map(|commit| commit.recorded_at.unix_ms()).max();
        let life = Life { clock_off_ms: now.map_or(0, |now| now - BEGINNING_MS), ..UNDISTURBED };
        let engine = shared.start(self.lives.len() as u64, life, None);
        self.let_end(&shared.truth, false).await;
        let appends = engine.log.appends();
        engine.task.abort();
        Run::of(self.root(), appends, 0, &shared).await
    }
}
