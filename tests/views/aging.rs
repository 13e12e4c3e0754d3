//! Views of another version of the fold, or of another log, count as none: they are folded anew.

use bson::{Document, doc};
use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::views::Views;
use testledger_projections::ports::{Checkpoint, Saved};
use testledger_schemas::Hash;

use crate::folding::{place, view};
use crate::history::Histories;
use crate::stores::{Kind, Ledger, all_of, append, count, replay, run, settled};

/// Makes what is stored the views of another version, which cannot be read.
async fn age(ledger: &Ledger) {
    match &ledger.kind {
        Kind::Sqlite(folder) => {
            let db = rusqlite::Connection::open(folder.path().join("ledger.db")).unwrap();
            db.execute("UPDATE view_builds SET version = version + 1", []).unwrap();
            db.execute("UPDATE view_executions_v2_1 SET view = 'of another shape'", []).unwrap();
        }
        Kind::Mongodb(server) => {
            let checkpoints = server.database.collection::<Document>("view_checkpoints");
            checkpoints.update_one(doc! {}, doc! { "$inc": { "version": 1 } }).await.unwrap();
            let views = server.database.collection::<Document>("view_executions_v2_1");
            let changed = views.update_many(doc! {}, doc! { "$unset": { "status": "" } }).await.unwrap();
            assert!(changed.modified_count > 0);
        }
        Kind::Memory(_) => panic!("views in memory do not grow old"),
    }
}

async fn views_of_another_version_or_another_log_are_folded_anew(ledger: Ledger) {
    ledger.append(&Histories::new(31, Hash::of(b"plan")).suite("one", 5)).await;
    let views = ledger.views().await;
    views.catch_up(None).await.unwrap();
    age(&ledger).await;
    let store = ledger.store().await;
    assert_eq!(store.checkpoint().await.unwrap(), Checkpoint::START);
    let first = *all_of_log(&ledger).await.first_key_value().unwrap().0;
    assert_eq!(store.load(&[first]).await.unwrap(), [None], "views of another version are none");
    let progress = views.catch_up(None).await.unwrap();
    assert_eq!(progress.folded, progress.position);
    assert_eq!(all_of(&views).await, replay(&ledger.log).await);

    let other: SharedLog = MemoryLog::new();
    let commits = Histories::new(32, Hash::of(b"plan")).suite("two", 5);
    append(&other, &commits).await;
    settled(&other, count(&commits)).await;
    let views = Views::over(other.clone(), ledger.store().await);
    views.catch_up(None).await.unwrap();
    assert_eq!(all_of(&views).await, replay(&other).await, "views of the first log are gone");
    ledger.log.close().await;
    other.close().await;
}

async fn all_of_log(ledger: &Ledger) -> crate::stores::Every {
    replay(&ledger.log).await
}

/// What is left over from before a first batch is thrown away with it, whatever left it there.
async fn leftovers_do_not_show_through(ledger: Ledger) {
    let store = ledger.store().await;
    store.save(&Checkpoint::START, vec![view(1, "old"), view(2, "old")], &place(9, "old")).await.unwrap();
    age(&ledger).await;
    assert_eq!(store.save(&Checkpoint::START, vec![view(2, "new")], &place(1, "new")).await.unwrap(), Saved::Yes);
    let found = store.load(&[view(1, "").0, view(2, "").0]).await.unwrap();
    assert_eq!(found, [None, Some(view(2, "new").1)]);
    assert_eq!(store.list(&Default::default()).await.unwrap().executions, [view(2, "new").1]);
}

macro_rules! kept {
    ($($name:ident),*) => {
        mod sqlite {
            $(#[test] fn $name() { super::run(async { super::$name(super::Ledger::sqlite().await).await }); })*
        }
        mod mongodb {
            $(#[test] fn $name() { super::run(async { super::$name(super::Ledger::mongodb().await).await }); })*
        }
    };
}
kept!(views_of_another_version_or_another_log_are_folded_anew, leftovers_do_not_show_through);
