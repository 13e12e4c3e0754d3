//! The log that is tampered with: many streams side by side, so that its pages hold more than one commit.

use testledger::event_store::EventLog;
use testledger_schemas::commit::Commit;
use testledger_schemas::page::Anchor;

use super::history::Histories;

/// The seed of the log that is tampered with.
pub const SEED: u64 = 20_261_123;
/// How many suites it has, of six cases each: some hundred commits.
const SUITES: usize = 6;

/// What is known of a log as it was written.
#[derive(Clone, Copy)]
pub struct Written {
    /// What somebody kept.
    pub anchor: Anchor,
    /// How many commits it has.
    pub commits: usize,
}

/// Writes the log in rounds, one commit of each suite in each, and waits until every round has its place.
pub async fn write(log: &dyn EventLog) -> Written {
    let plan = log.put_artifact(b"the plan".to_vec()).await.unwrap();
    let mut histories = Histories::new(SEED, plan);
    let suites: Vec<Vec<Commit>> = (0..SUITES).map(|n| histories.suite(&format!("suite-{n}"), 6)).collect();
    let rounds = suites.iter().map(Vec::len).max().unwrap();
    let (mut head, mut position) = (log.head(), 0);
    for round in 0..rounds {
        let commits: Vec<&Commit> = suites.iter().filter_map(|suite| suite.get(round)).collect();
        position += commits.iter().map(|commit| commit.events.len() as u64).sum::<u64>();
        let appends = commits.into_iter().map(|commit| log.append(commit.clone()));
        futures::future::join_all(appends).await.into_iter().for_each(|appended| appended.unwrap());
        head.wait_for(|head| *head >= position).await.unwrap();
    }
    let anchor = log.last_page().await.unwrap().anchor();
    Written { anchor, commits: suites.iter().map(Vec::len).sum() }
}
