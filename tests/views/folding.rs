//! What every store of views keeps: each event counts once, whoever folds it, and the views equal a replay.

use std::collections::BTreeMap;

use testledger::audit::{ErasureRequest, erase};
use testledger::ports::clock::SystemClock;
use testledger::ports::ids::SeededIds;
use testledger::views::query::ExecutionStore;
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::{Checkpoint, Poison, Saved};
use testledger_projections::projection::Projection;
use testledger_schemas::commit::{Commit, Envelope, RecordedEvent, StreamHead};
use testledger_schemas::event::ExecutionReady;
use testledger_schemas::{EventId, ExecutionId, Hash, Timestamp};

use crate::history::{Histories, end_of};
use crate::stores::{Every, Ledger, all_of, append, contract, count, replay, settled};

/// The last commit of each stream says how it ended, and a suite's cases add up.
fn check_against_the_log(views: &Every, commits: &[Commit], seed: u64) {
    let last: BTreeMap<_, _> = commits.iter().map(|commit| (commit.id.stream.execution().unwrap(), commit)).collect();
    assert_eq!(views.len(), last.len(), "seed {seed}");
    for (id, commit) in last {
        let view = &views[&id];
        assert_eq!((view.status, view.is_final), (end_of(commit), true), "seed {seed} {id}");
        assert_eq!(
            (view.last_version, view.anomalies.as_slice()),
            (commit.last_version(), &[][..]),
            "seed {seed} {id}"
        );
        let mut statuses = BTreeMap::new();
        for child in views.values().filter(|child| child.parent_id == Some(id)) {
            *statuses.entry(child.status).or_default() += 1;
        }
        assert_eq!(view.children.statuses, statuses, "seed {seed} {id}");
        assert_eq!(view.children.finished, statuses.values().sum::<u64>(), "seed {seed} {id}");
    }
}

/// A commit with an event of a type that this program does not know.
fn of_a_newer_program() -> Commit {
    let stream = ExecutionId(uuid::Uuid::from_u128(99)).into();
    let id = EventId(uuid::Uuid::from_u128(98));
    let mut event = RecordedEvent::write(id, String::new(), &ExecutionReady { parent_epoch: None }.into()).unwrap();
    event.type_name = "SomethingNewer".into();
    let envelope = Envelope {
        recorded_at: Timestamp::from_unix_ms(0),
        actor: "ada".into(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    Commit::seal(stream, StreamHead::EMPTY, envelope, vec![event]).unwrap()
}

/// A place in a history of its own.
pub fn place(position: u64, history: &str) -> Checkpoint {
    Checkpoint { position, page: position, page_hash: Hash::of(history.as_bytes()), ..Checkpoint::START }
}

/// A view that is told from others by its label.
pub fn view(number: u128, label: &str) -> (ExecutionId, ExecutionView) {
    let id = ExecutionId(uuid::Uuid::from_u128(number));
    let mut view = Executions.initial(&id);
    view.label = label.to_owned();
    view.requested_at = Some(Timestamp::from_unix_ms(number as i64));
    (id, view)
}

contract! {
    async fn views_folded_on_the_way_equal_a_replay_and_what_the_log_says(ledger: &Ledger) {
        for seed in 1..=5 {
            let ledger = ledger.another().await;
            let mut histories = Histories::new(seed, Hash::of(b"plan"));
            let views = ledger.views().await;
            let commits: Vec<Commit> = (0..4).flat_map(|n| histories.suite(&format!("suite-{n}"), 8)).collect();
            for commit in &commits {
                append(&ledger.log, std::slice::from_ref(commit)).await;
                if histories.below(10) == 0 {
                    views.catch_up(None).await.unwrap();
                }
            }
            settled(&ledger.log, count(&commits)).await;
            let progress = views.catch_up(None).await.unwrap();
            assert_eq!((progress.position, progress.paused), (count(&commits), None), "seed {seed}");
            let stored = all_of(&views).await;
            assert_eq!(stored, replay(&ledger.log).await, "seed {seed}");
            check_against_the_log(&stored, &commits, seed);
            ledger.log.close().await;
        }
    }

    async fn workers_that_race_count_every_event_once(ledger: &Ledger) {
        let mut histories = Histories::new(11, Hash::of(b"plan"));
        let commits: Vec<Commit> = (0..12).flat_map(|n| histories.suite(&format!("suite-{n}"), 20)).collect();
        let total = count(&commits);
        let mut workers = Vec::new();
        for _ in 0..3 {
            let views = ledger.views().await;
            workers.push(tokio::spawn(async move {
                let mut folded = 0;
                loop {
                    let progress = views.catch_up(None).await.unwrap();
                    folded += progress.folded;
                    if progress.position >= total {
                        return folded;
                    }
                    tokio::task::yield_now().await;
                }
            }));
        }
        append(&ledger.log, &commits).await;
        let mut folded = 0;
        for worker in workers {
            folded += worker.await.unwrap();
        }
        assert_eq!(folded, total, "each event was folded by exactly one worker");
        assert_eq!(all_of(&ledger.views().await).await, replay(&ledger.log).await);
        ledger.log.close().await;
    }

    async fn who_comes_second_writes_nothing(ledger: &Ledger) {
        let (first, second) = (ledger.store().await, ledger.store().await);
        let save = async |store: &dyn ExecutionStore, before, label, after| {
            store.save(before, vec![view(1, label)], after).await.unwrap()
        };
        let label = async || second.load(&[view(1, "").0]).await.unwrap().pop().unwrap().map(|view| view.label);
        let (one, two, another) = (place(10, "one"), place(20, "two"), place(10, "another"));
        assert_eq!(save(&*first, &Checkpoint::START, "first", &one).await, Saved::Yes);
        assert_eq!(save(&*second, &Checkpoint::START, "second", &one).await, Saved::Overtaken);
        assert_eq!((second.checkpoint().await.unwrap(), label().await.unwrap()), (one.clone(), "first".to_owned()));
        assert_eq!(save(&*second, &another, "second", &two).await, Saved::Overtaken, "another history");
        assert_eq!(save(&*second, &one, "second", &two).await, Saved::Yes);
        assert_eq!(save(&*first, &one, "first", &two).await, Saved::Overtaken);
        assert_eq!((first.checkpoint().await.unwrap(), label().await.unwrap()), (two, "second".to_owned()));
    }

    async fn a_batch_without_views_moves_the_checkpoint(ledger: &Ledger) {
        let store = ledger.store().await;
        let one = place(1, "one");
        assert_eq!(store.save(&Checkpoint::START, vec![], &Checkpoint::START).await.unwrap(), Saved::Yes);
        assert_eq!(store.save(&Checkpoint::START, vec![], &one).await.unwrap(), Saved::Yes);
        assert_eq!(store.checkpoint().await.unwrap(), one);
        let reason = "not readable: a \u{0} and so on".to_owned();
        let paused = Checkpoint { paused: Some(Poison { position: 2, reason }), ..one.clone() };
        assert_eq!(store.save(&one, vec![], &paused).await.unwrap(), Saved::Yes);
        assert_eq!(store.checkpoint().await.unwrap(), paused);
    }

    async fn views_come_in_the_order_asked_for(ledger: &Ledger) {
        let store = ledger.store().await;
        let views: Vec<_> = (1..=3).map(|number| view(number, "there")).collect();
        let keys: Vec<_> = [3, 9, 1, 2, 8].iter().map(|number| view(*number, "").0).collect();
        assert_eq!(store.load(&keys).await.unwrap(), vec![None; 5]);
        store.save(&Checkpoint::START, views.clone(), &place(1, "one")).await.unwrap();
        let there = |index: usize| Some(views[index].1.clone());
        assert_eq!(store.load(&keys).await.unwrap(), [there(2), None, there(0), there(1), None]);
        assert_eq!(store.load(&[]).await.unwrap(), []);
    }

    async fn a_reset_throws_everything_away(ledger: &Ledger) {
        let (store, other) = (ledger.store().await, ledger.store().await);
        store.reset().await.unwrap();
        for round in 0..3_u128 {
            let views = vec![view(round + 1, "one"), view(round + 2, "two")];
            let keys: Vec<_> = (0..6).map(|number| view(number, "").0).collect();
            let start = other.checkpoint().await.unwrap();
            let five = Checkpoint { epoch: start.epoch, ..place(5, "five") };
            assert_eq!(store.save(&start, views.clone(), &five).await.unwrap(), Saved::Yes);
            let found = other.load(&keys).await.unwrap();
            assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), [views[0].1.clone(), views[1].1.clone()]);
            store.reset().await.unwrap();
            let thrown_away = Checkpoint { epoch: start.epoch + 1, ..Checkpoint::START };
            assert_eq!(other.checkpoint().await.unwrap(), thrown_away);
            assert_eq!(other.load(&keys).await.unwrap(), vec![None; 6]);
            assert_eq!(other.list(&Default::default()).await.unwrap().executions, []);
            assert_eq!(other.get(keys[2]).await.unwrap(), None);
            let late = other.save(&five, views, &place(6, "six")).await.unwrap();
            assert_eq!(late, Saved::Overtaken, "who began before the reset writes nothing");
        }
    }

    async fn an_event_that_cannot_be_read_pauses_the_views_and_is_named(ledger: &Ledger) {
        let mut histories = Histories::new(41, Hash::of(b"plan"));
        let before = histories.case("suite", "before", None);
        let good = count(&before);
        append(&ledger.log, &before).await;
        append(&ledger.log, &[of_a_newer_program()]).await;
        append(&ledger.log, &histories.case("suite", "after", None)).await;
        settled(&ledger.log, good + 2).await;
        let views = ledger.views().await;
        for _ in 0..2 {
            let progress = views.catch_up(None).await.unwrap();
            let paused = progress.paused.unwrap();
            assert_eq!((progress.position, paused.position), (good, good + 1));
            assert!(paused.reason.contains("SomethingNewer"), "{}", paused.reason);
        }
        assert_eq!(all_of(&views).await.len(), 1);
        ledger.log.close().await;
    }

    async fn erased_text_leaves_the_views_as_well(ledger: &Ledger) {
        let commits = Histories::new(51, Hash::of(b"plan")).suite("secretive", 6);
        let targets: Vec<_> = commits
            .iter()
            .flat_map(|commit| commit.events.iter().map(|event| (commit.id, event)))
            .filter(|(_, event)| event.content_hash.is_some())
            .map(|(commit, event)| (commit, event.event_id))
            .collect();
        ledger.append(&commits).await;
        let views = ledger.views().await;
        views.catch_up(None).await.unwrap();
        assert!(all_of(&views).await.values().all(|view| view.name.is_some()));
        let request = ErasureRequest { events: targets, grounds: "all of it".into(), actor: "dpo-7".into() };
        let done = erase(&*ledger.log, &request, &SeededIds::new(5), &SystemClock).await.unwrap();
        settled(&ledger.log, count(&commits) + done.events).await;
        views.catch_up(None).await.unwrap();
        let stored = all_of(&views).await;
        assert_eq!(stored, replay(&ledger.log).await, "folded before the erasure or after it: the same");
        for view in stored.values() {
            let message = view.first_failure.as_ref().and_then(|failure| failure.message.clone());
            assert_eq!((&view.name, &view.source, &view.host, message), (&None, &None, &None, None));
        }
        ledger.log.close().await;
    }
}
