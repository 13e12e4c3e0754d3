//! What every store of views promises its workers: epochs fence, holds hold, a rebuild is seen whole or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use testledger_projections::executions::Executions;
use testledger_projections::ports::{Checkpoint, Hold, Saved, Switched};
use testledger_projections::worker::catch_up;
use testledger_projections::worker::rebuild::{Rebuild, Rebuilt};
use testledger_schemas::{Hash, Timestamp};

use crate::folding::{place, view};
use crate::history::Histories;
use crate::stores::{Every, Ledger, all_of, append, contract, count, replay, settled};

fn hold() -> Hold {
    Hold { by: "ada".to_owned(), at: Timestamp::from_unix_ms(1_795_425_120_000) }
}

contract! {
    async fn who_folds_under_an_earlier_epoch_writes_nothing(ledger: &Ledger) {
        let (first, second) = (ledger.store().await, ledger.store().await);
        let (one, two) = (place(1, "one"), place(2, "two"));
        assert_eq!(first.save(&Checkpoint::START, vec![view(1, "first")], &one).await.unwrap(), Saved::Yes);
        let fenced = second.fence().await.unwrap();
        assert_eq!(fenced, Checkpoint { epoch: 1, ..one.clone() });
        assert_eq!(first.save(&one, vec![view(1, "late")], &two).await.unwrap(), Saved::Overtaken);
        let after = Checkpoint { epoch: 1, ..two };
        assert_eq!(second.save(&fenced, vec![view(1, "second")], &after).await.unwrap(), Saved::Yes);
        assert_eq!(first.checkpoint().await.unwrap(), after);
        assert_eq!(first.load(&[view(1, "").0]).await.unwrap(), [Some(view(1, "second").1)]);
        second.reset().await.unwrap();
        let again = Checkpoint { epoch: 2, ..Checkpoint::START };
        assert_eq!(first.checkpoint().await.unwrap(), again, "epochs go on");
        // Folded to the same place again: who loaded before must not take that for the place it began at.
        let there = Checkpoint { epoch: 2, ..after.clone() };
        assert_eq!(second.save(&again, vec![view(1, "third")], &there).await.unwrap(), Saved::Yes);
        assert_eq!(first.save(&after, vec![view(1, "late")], &place(3, "three")).await.unwrap(), Saved::Overtaken);
    }

    /// Also where nothing was folded yet.
    async fn an_epoch_may_begin_before_the_first_event(ledger: &Ledger) {
        let store = ledger.store().await;
        let fenced = store.fence().await.unwrap();
        assert_eq!(fenced, Checkpoint { epoch: 1, ..Checkpoint::START });
        let one = Checkpoint { epoch: 1, ..place(1, "one") };
        assert_eq!(store.save(&Checkpoint::START, vec![view(1, "x")], &one).await.unwrap(), Saved::Overtaken);
        assert_eq!(store.save(&fenced, vec![view(1, "x")], &one).await.unwrap(), Saved::Yes);
        assert_eq!(store.load(&[view(1, "").0]).await.unwrap(), [Some(view(1, "x").1)]);
    }

    async fn nobody_folds_what_somebody_holds(ledger: &Ledger) {
        let (commits, store, views) =
            (Histories::new(41, Hash::of(b"plan")).suite("one", 4), ledger.store().await, ledger.views().await);
        ledger.append(&commits[..5]).await;
        views.catch_up(None).await.unwrap();
        let before = all_of(&views).await;
        store.hold(Some(hold())).await.unwrap();
        ledger.append_more(&commits[5..], &commits[..5]).await;
        let progress = views.catch_up(None).await.unwrap();
        assert_eq!((progress.folded, progress.held), (0, Some(hold())));
        assert_eq!(all_of(&views).await, before, "what was folded can be read");
        store.reset().await.unwrap();
        assert_eq!(store.checkpoint().await.unwrap().held, Some(hold()), "a hold outlives the views");
        store.hold(None).await.unwrap();
        let progress = views.catch_up(None).await.unwrap();
        assert_eq!((progress.position, progress.held), (count(&commits), None));
        assert_eq!(all_of(&views).await, replay(&ledger.log).await);
        ledger.log.close().await;
    }

    async fn views_beside_are_not_seen_before_the_switch(ledger: &Ledger) {
        let store = ledger.store().await;
        let beside = store.beside();
        assert_eq!(store.switch().await.unwrap(), Switched::Nothing);
        store.save(&Checkpoint::START, vec![view(1, "old"), view(2, "old")], &place(5, "x")).await.unwrap();
        assert_eq!(beside.checkpoint().await.unwrap(), Checkpoint::START);
        beside.save(&Checkpoint::START, vec![view(1, "new")], &place(4, "x")).await.unwrap();
        assert_eq!(beside.load(&[view(1, "").0, view(2, "").0]).await.unwrap(), [Some(view(1, "new").1), None]);
        assert_eq!(store.load(&[view(1, "").0]).await.unwrap(), [Some(view(1, "old").1)]);
        assert_eq!(store.switch().await.unwrap(), Switched::Behind);
        assert_eq!(store.load(&[view(1, "").0]).await.unwrap(), [Some(view(1, "old").1)]);
        store.hold(Some(hold())).await.unwrap();
        beside.save(&place(4, "x"), vec![view(3, "new")], &place(6, "y")).await.unwrap();
        assert_eq!(store.switch().await.unwrap(), Switched::Yes);
        assert_eq!(store.switch().await.unwrap(), Switched::Nothing);
        let keys = [view(1, "").0, view(2, "").0, view(3, "").0];
        let other = ledger.store().await;
        assert_eq!(other.load(&keys).await.unwrap(), [Some(view(1, "new").1), None, Some(view(3, "new").1)]);
        let now = other.checkpoint().await.unwrap();
        assert_eq!((now.position, now.epoch, now.held), (6, 2, Some(hold())));
        // And once more: numbers of tables go on.
        let beside = store.beside();
        let start = beside.checkpoint().await.unwrap();
        assert_eq!(start.clone().at_start(), start);
        let seven = Checkpoint { epoch: start.epoch, ..place(7, "z") };
        assert_eq!(beside.save(&start, vec![view(9, "newer")], &seven).await.unwrap(), Saved::Yes);
        assert_eq!(store.switch().await.unwrap(), Switched::Yes);
        assert_eq!(other.scan(None, 10).await.unwrap(), [(view(9, "").0.to_string(), Ok(view(9, "newer").1))]);
        store.reset().await.unwrap();
        assert_eq!(other.scan(None, 10).await.unwrap(), []);
    }

    async fn a_scan_goes_through_all_views_in_order(ledger: &Ledger) {
        let store = ledger.store().await;
        assert_eq!(store.scan(None, 10).await.unwrap(), []);
        let all: Every = (1..=25).map(|number| view(number * 7919, "x")).collect();
        store.save(&Checkpoint::START, all.clone().into_iter().collect(), &place(1, "one")).await.unwrap();
        let (mut seen, mut after) = (BTreeMap::new(), None::<String>);
        loop {
            let piece = store.scan(after.as_deref(), 4).await.unwrap();
            let Some((last, _)) = piece.last() else { break };
            assert!(after.is_none_or(|after| *last > after) && piece.is_sorted_by_key(|(key, _)| key.clone()));
            after = Some(last.clone());
            seen.extend(piece.into_iter().map(|(key, view)| (key, view.unwrap())));
        }
        assert_eq!(seen, all.into_iter().map(|(key, view)| (key.to_string(), view)).collect());
    }

    async fn a_lease_has_one_holder_until_it_ends(ledger: &Ledger) {
        let (one, other) = (ledger.leases().await, ledger.leases().await);
        let (long, short) = (Duration::from_secs(600), Duration::from_millis(300));
        assert_eq!(one.current("executions").await.unwrap(), None);
        assert!(one.take("executions", "one", short).await.unwrap());
        assert!(!other.take("executions", "other", long).await.unwrap());
        assert!(other.take("traces", "other", long).await.unwrap(), "each projection has its own");
        assert_eq!(other.current("executions").await.unwrap().unwrap().holder, "one");
        assert!(one.take("executions", "one", short).await.unwrap(), "renewed");
        tokio::time::sleep(short * 2).await;
        assert_eq!(one.current("executions").await.unwrap(), None);
        assert!(other.take("executions", "other", long).await.unwrap(), "it has ended");
        assert!(!one.take("executions", "one", long).await.unwrap());
        one.give_up("executions", "one").await.unwrap();
        assert!(!one.take("executions", "one", long).await.unwrap(), "it was not its to give up");
        other.give_up("executions", "other").await.unwrap();
        assert!(one.take("executions", "one", long).await.unwrap());
    }

    async fn a_rebuild_gives_what_a_replay_gives_while_others_read_and_fold(ledger: &Ledger) {
        let mut histories = Histories::new(43, Hash::of(b"plan"));
        let commits: Vec<_> = (0..6).flat_map(|n| histories.suite(&format!("suite-{n}"), 9)).collect();
        let (first, rest) = commits.split_at(commits.len() / 2);
        ledger.append(first).await;
        let (store, views, leases) = (ledger.store().await, ledger.views().await, ledger.leases().await);
        views.catch_up(None).await.unwrap();
        // What stands there is wrong, and an attempt was broken off.
        let now = store.checkpoint().await.unwrap();
        assert_eq!(store.save(&now, vec![view(1, "wrong")], &now).await.unwrap(), Saved::Yes);
        let feed = testledger::views::feed::LogFeed::new(ledger.log.clone());
        let begun = catch_up(&Executions, &feed, &*store.beside(), Some(1)).await.unwrap().folded;
        let appending = tokio::spawn({
            let (log, rest, views) = (ledger.log.clone(), rest.to_vec(), ledger.views().await);
            async move {
                for commit in &rest {
                    append(&log, std::slice::from_ref(commit)).await;
                    views.catch_up(None).await.unwrap();
                }
            }
        });
        let rebuild = Rebuild { projection: &Executions, feed: &feed, store: &*store, leases: &*leases, holder: "me" };
        let rebuilt = loop {
            match rebuild.run(false, &|_, _| ()).await.unwrap() {
                Rebuilt::Behind => {}
                ended => break ended,
            }
        };
        appending.await.unwrap();
        let Rebuilt::Done { position, folded } = rebuilt else { panic!("{rebuilt:?}") };
        assert_eq!(folded + begun, position, "it went on where it was broken off");
        settled(&ledger.log, count(&commits)).await;
        views.catch_up(None).await.unwrap();
        assert_eq!(all_of(&views).await, replay(&ledger.log).await);
        leases.take("executions.rebuild", "somebody else", Duration::from_secs(60)).await.unwrap();
        assert_eq!(rebuild.run(true, &|_, _| ()).await.unwrap(), Rebuilt::Elsewhere);
        ledger.log.close().await;
    }
}
