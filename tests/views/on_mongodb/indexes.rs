//! Every question walks an index in its order: the server itself says so, of the very commands that were sent.

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use testledger::views::Views;
use testledger::views::mongodb::MongoViews;
use testledger::views::query::{Cursor, ExecutionFilter, Order};
use testledger::views::steps::StepViews;
use testledger_projections::executions::ExecutionView;
use testledger_projections::flaky_steps::{FlakyKey, FlakySteps};
use testledger_projections::ports::{Checkpoint, ViewStore};
use testledger_schemas::{ExecutionId, Hash};

use crate::asking::{every_filter, varied};
use crate::folding::place;
use crate::history::Histories;
use crate::mongodb_server::TestDatabase;
use crate::stores::{Every, Kind, Ledger, append, count, replay, run, settled};
use crate::weeks::{Weeks, days_of, folded};

/// How many questions of one kind the server is asked about.
const MAX_QUESTIONS: usize = 5_000;

/// How often the views of one history are there, each time as those of other executions.
const COPIES: u128 = 25;

/// Views of many suites, as they are after a while.
async fn filled() -> (Ledger, Every) {
    let ledger = Ledger::mongodb().await;
    let mut histories = Histories::new(91, Hash::of(b"plan"));
    let commits: Vec<_> = (0..6).flat_map(|n| histories.suite(&format!("suite-{n}"), 12)).collect();
    append(&ledger.log, &commits).await;
    settled(&ledger.log, count(&commits)).await;
    let once = varied(replay(&ledger.log).await);
    let every: Every = (0..COPIES).flat_map(|number| once.values().map(move |view| copy(view, number))).collect();
    let (store, views) = (ledger.store().await, every.clone().into_iter().collect());
    store.save(&Checkpoint::START, views, &place(count(&commits), "all")).await.unwrap();
    (ledger, every)
}

fn copy(view: &ExecutionView, number: u128) -> (ExecutionId, ExecutionView) {
    let moved = |id: ExecutionId| ExecutionId(uuid::Uuid::from_u128(id.0.as_u128() + (number << 96)));
    let mut view = view.clone();
    (view.id, view.parent_id) = (moved(view.id), view.parent_id.map(moved));
    view.requested_at = view.requested_at.map(|at| at.plus_ms(number as u64 * 60_000));
    (view.id, view)
}

fn server(ledger: &Ledger) -> &TestDatabase {
    match &ledger.kind {
        Kind::Mongodb(server) => server,
        Kind::Sqlite(_) | Kind::Memory(_) => panic!("on MongoDB"),
    }
}

/// The queries that the server answered while `asking`, on the views and on the checkpoints.
async fn recorded(server: &TestDatabase, asking: impl Future<Output = ()>) -> Vec<Document> {
    let database = &server.database;
    database.run_command(doc! { "create": "system.profile", "capped": true, "size": 256 << 20 }).await.unwrap();
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    asking.await;
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let profile = database.collection::<Document>("system.profile");
    let asked = doc! { "$or": [{ "op": "query" }, { "op": "command", "command.aggregate": { "$exists": true } }] };
    let queries = profile.find(doc! { "ns": { "$regex": r"\.view_" }, "$and": [asked] }).await.unwrap();
    let queries: Vec<Document> = queries.try_collect().await.unwrap();
    assert!(queries.len() < MAX_QUESTIONS);
    queries.into_iter().map(|query| query.get_document("command").unwrap().clone()).collect()
}

/// What the server says of a command: the stages of the plan it takes, and the figures.
async fn explained(server: &TestDatabase, command: &Document) -> (BTreeSet<String>, Document) {
    let question: Document = ["find", "aggregate", "filter", "sort", "limit", "pipeline", "cursor", "hint"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), command.get(name)?.clone())))
        .collect();
    let explain = doc! { "explain": question, "verbosity": "executionStats" };
    let explained = server.database.run_command(explain).await.unwrap();
    // Of an aggregation, what its first stage takes from the collection.
    let first =
        explained.get_array("stages").ok().and_then(|stages| stages[0].as_document()?.get_document("$cursor").ok());
    let explained = first.unwrap_or(&explained);
    let mut stages = BTreeSet::new();
    collect(explained.get_document("queryPlanner").unwrap().get("winningPlan").unwrap(), &mut stages);
    (stages, explained.get_document("executionStats").unwrap().clone())
}

fn collect(plan: &Bson, stages: &mut BTreeSet<String>) {
    match plan {
        Bson::Document(document) => {
            stages.extend(document.get_str("stage").ok().map(str::to_owned));
            document.values().for_each(|value| collect(value, stages));
        }
        Bson::Array(values) => values.iter().for_each(|value| collect(value, stages)),
        _ => {}
    }
}

async fn check(server: &TestDatabase, commands: &[Document]) {
    let mut seen = BTreeSet::new();
    let question = |command: &Document| {
        ["filter", "sort", "hint", "pipeline"].map(|part| command.get(part).map(ToString::to_string))
    };
    for command in commands.iter().filter(|command| seen.insert(question(command))) {
        let (stages, figures) = explained(server, command).await;
        let is_indexed = stages.contains("IXSCAN") || stages.contains("IDHACK");
        let is_bad = stages.contains("COLLSCAN") || stages.contains("SORT");
        assert!(is_indexed && !is_bad, "{command} takes {stages:?}: {figures}");
    }
    assert!(!seen.is_empty());
}

#[test]
fn every_list_walks_an_index_in_its_order() {
    run(async {
        let (ledger, every) = filled().await;
        let views = Views::mongodb(ledger.log.clone(), &server(&ledger).database).await.unwrap();
        let middle = every.values().nth(every.len() / 2).unwrap();
        let commands = recorded(server(&ledger), async {
            for filter in every_filter() {
                for after in [None, Some(Cursor::of(middle, filter.order))] {
                    views.list(&ExecutionFilter { after, limit: 10, ..filter.clone() }).await.unwrap();
                }
            }
        });
        check(server(&ledger), &commands.await).await;
    });
}

#[test]
fn every_other_question_walks_an_index() {
    run(async {
        let (ledger, every) = filled().await;
        let store = ledger.store().await;
        let keys: Vec<_> = every.keys().copied().collect();
        let commands = recorded(server(&ledger), async {
            for id in keys.iter().step_by(20) {
                store.children(*id, 1_000).await.unwrap();
                store.get(*id).await.unwrap();
                store.by_prefix(&id.to_string()[..20], 5).await.unwrap();
            }
            store.load(&keys[..200]).await.unwrap();
            store.checkpoint().await.unwrap();
        });
        check(server(&ledger), &commands.await).await;
    });
}

/// Also the sums over all steps: what is added up, and nothing else, is read by the index.
#[test]
fn every_question_about_steps_walks_an_index() {
    run(async {
        let ledger = Ledger::mongodb().await;
        let store = MongoViews::<FlakySteps>::open(&server(&ledger).database).await.unwrap();
        let views = StepViews::over(ledger.log.clone(), store.clone());
        let events = Weeks::of(3);
        let documents = folded(&events).await;
        store.save(&Checkpoint::START, documents.clone(), &place(events.len() as u64, "all")).await.unwrap();
        let days = days_of(&events, 0);
        let commands = recorded(server(&ledger), async {
            views.sums(days).await.unwrap();
            views.each_window(days, |_| ()).await.unwrap();
            views.each_telling_window(days, |_| ()).await.unwrap();
            let (key, _) = documents.iter().find(|(_, view)| view.bucket().is_some()).unwrap();
            let FlakyKey::Bucket(step, _) = key else { panic!("{key}") };
            views.window(*step, days).await.unwrap();
            views.by_prefix(&step.to_string()[..8], 5).await.unwrap();
        });
        let commands = commands.await;
        assert!(commands.iter().any(|command| command.contains_key("aggregate")));
        check(server(&ledger), &commands).await;
    });
}

/// A page costs what it shows, wherever it begins: not what comes before it.
#[test]
fn a_page_reads_no_more_than_it_shows() {
    run(async {
        let (ledger, every) = filled().await;
        let store = ledger.store().await;
        let mut places: Vec<_> = every.values().map(|view| Cursor::of(view, Order::Newest)).collect();
        places.sort_unstable();
        let suite = Some("suite-3".to_owned());
        let roots = ExecutionFilter { roots_only: true, ..Default::default() };
        let filters = [ExecutionFilter::default(), ExecutionFilter { suite, ..Default::default() }, roots];
        let commands = recorded(server(&ledger), async {
            for (filter, place) in
                filters.iter().flat_map(|filter| places.iter().step_by(150).map(move |place| (filter, place)))
            {
                store.list(&ExecutionFilter { after: Some(*place), limit: 5, ..filter.clone() }).await.unwrap();
            }
        });
        let commands = commands.await;
        let pages = commands.iter().filter(|command| command.get_str("find").unwrap().starts_with("view_executions"));
        for page in pages {
            let (_, figures) = explained(server(&ledger), page).await;
            assert!(figures.get_i32("totalKeysExamined").unwrap() <= 6, "{page}: {figures}");
            assert!(figures.get_i32("totalDocsExamined").unwrap() <= 6, "{page}: {figures}");
        }
    });
}
