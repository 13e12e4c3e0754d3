//! What must neither lose nor double an event of the log on MongoDB: a history that is lost, a backfill that is killed,
//! commits that are dropped, members that stop, stall or die. A scenario is a function: the tests run a short form of
//! it, the show a long one.
#![allow(dead_code, reason = "the tests and the show use their part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod appending;
pub mod clocks;
pub mod dropped;
pub mod failover;
pub mod garbage;
pub mod killed;
pub mod overrun;
pub mod raw;
pub mod unknown;
#[path = "../whole.rs"]
mod whole;

use std::time::{Duration, Instant};

use testledger::audit::{AuditReport, Sequencing, VerifyOptions, verify};
use testledger::event_store::{EventLog, StoreError};

use appending::Acknowledged;
pub use whole::{Whole, whole};

/// A scenario that waits so long for something hangs: never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// How long everything may take to get its place in the end, until what has none counts as lost.
const SETTLE: Duration = Duration::from_secs(120);
/// How long an audit waits for positions: everything has its place before it begins.
const GRACE: Duration = Duration::from_secs(1);

/// What a scenario found in the end.
pub struct Found {
    pub acknowledged: usize,
    /// How often an outcome was not known at first.
    pub unknown: usize,
    /// Of what was acknowledged, how much is not there or has no place; and what is stored without one.
    pub lost: usize,
    pub whole: Whole,
    pub audit: AuditReport,
    /// How often the scenario did its worst: kills, blows, restorations.
    pub times: usize,
}

impl Found {
    /// Waits until everything has its place, and compares the log with what was acknowledged.
    pub async fn examine(log: &dyn EventLog, acknowledged: Acknowledged, times: usize) -> Self {
        Self::examine_all_but(0, log, acknowledged, times).await
    }

    /// The same where so many documents have the key of a commit and get no place.
    pub async fn examine_all_but(
        hopeless: usize,
        log: &dyn EventLog,
        acknowledged: Acknowledged,
        times: usize,
    ) -> Self {
        let began = Instant::now();
        let (whole, lost) = loop {
            let whole = answered(|| whole(log)).await;
            let stored = |(id, hash): &&(_, _)| whole.places.get(id) == Some(hash);
            let missing = acknowledged.commits.len() - acknowledged.commits.iter().filter(stored).count();
            let lost = missing + whole.unplaced.saturating_sub(hopeless);
            if lost == 0 || began.elapsed() > SETTLE {
                break (whole, lost);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let options = VerifyOptions { sequencing: Sequencing::Behind { grace: GRACE }, ..VerifyOptions::default() };
        let audit = answered(|| verify(log, &options, &|_| {})).await;
        Self { acknowledged: acknowledged.commits.len(), unknown: acknowledged.unknown, lost, whole, audit, times }
    }

    /// What must be 0, by name.
    pub fn wrongs(&self) -> [(&'static str, usize); 5] {
        let whole = &self.whole;
        let gaps = usize::try_from(whole.positions.abs_diff(whole.events)).unwrap();
        [
            ("lost", self.lost),
            ("doubled", whole.doubled),
            ("flagged", whole.flagged),
            ("changed", whole.changed + whole.broken_pages + gaps),
            ("findings", usize::try_from(self.audit.findings_total).unwrap()),
        ]
    }

    /// Fails unless everything is there once, in order, and unaltered.
    pub fn assert_sound(&self) {
        let wrongs = self.wrongs();
        assert!(wrongs.iter().all(|(_, count)| *count == 0), "{wrongs:?}\n{}", self.audit.to_text());
    }
}

/// Asks until the store answers: a busy machine may take longer than a call waits.
async fn answered<T, F: Future<Output = Result<T, StoreError>>>(mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StoreError::Unavailable(_)) if began.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
