//! The fold of traces and its reader: the same items whatever the batches and wherever they are kept.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../../tests/support/history.rs"]
mod history;
mod support;

use std::collections::BTreeMap;

use history::Histories;
use proptest::prelude::*;
use support::story::{Story, after_erasures, execution, requested, step_finished, step_run, step_started};
use support::{fold, fold_in, has_whole_numbers_only, recorded};
use testledger_projections::projection::{Projection, Recorded};
use testledger_projections::traces::*;
use testledger_schemas::event::*;
use testledger_schemas::{Erasable, EventId, ExecutionId, ExecutionStatus, Hash, StepOutcome};

type Views = BTreeMap<TraceKey, TraceView>;

fn head(views: &Views, of: ExecutionId) -> &TraceHead {
    views[&TraceKey::Head(of)].head().unwrap()
}

/// A page, read as an adapter reads it: the head, then the partitions that it needs.
fn read(views: &Views, of: ExecutionId, from: u64, limit: u64) -> TracePage {
    let head = head(views, of);
    let keys = partitions_for(head, from, limit);
    let partitions: Vec<TracePartition> = keys.iter().map(|key| views[key].partition().unwrap().clone()).collect();
    page(head, &partitions, from, limit).unwrap()
}

/// All items, page by page.
fn read_all(views: &Views, of: ExecutionId, limit: u64) -> Vec<TraceItem> {
    let mut items = vec![];
    let mut next = Some(0);
    while let Some(from) = next {
        let page = read(views, of, from, limit);
        items.extend(page.items);
        next = page.next;
    }
    items
}

fn heads(views: &Views) -> impl Iterator<Item = &TraceHead> {
    views.values().filter_map(TraceView::head)
}

/// A case of so many steps, which all pass.
fn steps(count: u64) -> Vec<Recorded> {
    let of = execution(1);
    let mut story = Story::default();
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    for step in 0..count {
        story.step(of, &step_run(1, &format!("step-{step}"), 1), StepOutcome::Passed);
    }
    story.passed(of, 1, OutcomeTally::new());
    story.events
}

fn bytes(view: &TraceView) -> usize {
    serde_json::to_vec(view).unwrap().len()
}

#[test]
fn the_items_move_to_partitions_when_the_threshold_is_passed() {
    let of = execution(1);
    for count in [0, 1, 49, 50, 51, 100, 101, 1000] {
        let views = fold(&Traces::default(), &steps(count));
        let head = head(&views, of);
        let is_embedded = count <= 50;
        let partitions = if is_embedded { 0 } else { count.div_ceil(50) };
        assert_eq!((head.step_count, head.use_embedded_steps), (count, is_embedded), "{count}");
        assert_eq!(head.embedded_steps.len() as u64, if is_embedded { count } else { 0 }, "{count}");
        assert_eq!(head.partition_count, partitions, "{count}");
        assert_eq!(views.values().filter_map(TraceView::partition).count() as u64, partitions, "{count}");
        assert_eq!((head.status, head.is_final, head.total_duration_ms), (ExecutionStatus::Passed, true, 100));
        assert_eq!((head.resource_usage.measured, head.resource_usage.user_ms), (count, 2 * count));
        let items = read_all(&views, of, 7);
        assert_eq!(items.len() as u64, count, "{count}");
        for (index, item) in (0..).zip(&items) {
            assert_eq!((item.index, item.label.clone()), (index, format!("step-{index}")));
            assert_eq!(item.outcome(), Some(StepOutcome::Passed));
            assert_eq!(item.name().unwrap(), format!("the name of step-{index}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_documents_do_not_depend_on_batches(
        seed: u64,
        threshold in 0u64..60,
        sizes in prop::collection::vec(1usize..40, 1..6),
    ) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let events = recorded(&[histories.suite("one", 5), histories.suite("two", 3)].concat());
        let traces = Traces::with_threshold(threshold);
        prop_assert_eq!(fold_in(&traces, &events, sizes), fold_in(&traces, &events, vec![usize::MAX]));
    }

    #[test]
    fn a_reader_cannot_tell_where_the_items_are(seed: u64, threshold in 0u64..30, cases in 0u32..12, limit in 1u64..70) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let events = recorded(&histories.suite("one", cases));
        let (few, many) = (fold(&Traces::with_threshold(threshold), &events), fold(&Traces::default(), &events));
        for one in heads(&few) {
            let other = head(&many, one.execution_id);
            prop_assert_eq!(read_all(&few, one.execution_id, limit), read_all(&many, one.execution_id, 500));
            let (use_embedded_steps, partition_count) = (one.use_embedded_steps, one.partition_count);
            let embedded_steps = one.embedded_steps.clone();
            let placed = TraceHead { use_embedded_steps, partition_count, embedded_steps, ..other.clone() };
            prop_assert_eq!(one, &placed);
            prop_assert_eq!(one.use_embedded_steps, one.step_count <= threshold);
            prop_assert!(one.open_steps.is_empty() && one.is_final);
        }
    }

    #[test]
    fn a_page_is_a_range_of_the_items(count in 0u64..400, from in 0u64..500, limit in 0u64..600) {
        let views = fold(&Traces::default(), &steps(count));
        let found = read(&views, execution(1), from, limit);
        let begin = from.min(count);
        let end = begin.saturating_add(limit.min(MAX_PAGE_ITEMS)).min(count);
        prop_assert_eq!(found.items.iter().map(|item| item.index).collect::<Vec<_>>(), (begin..end).collect::<Vec<_>>());
        prop_assert_eq!((found.next, found.step_count), ((end < count).then_some(end), count));
    }

    #[test]
    fn erased_texts_are_gone_from_every_document(seed: u64, threshold in 0u64..40, erasures in 1usize..20) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let mut story = Story::after(recorded(&histories.suite("one", 8)));
        let whole = story.events.len();
        for _ in 0..erasures {
            let any = histories.below(whole as u64) as usize;
            story.erase(story.events[any].event_id);
        }
        let traces = Traces::with_threshold(threshold);
        prop_assert_eq!(fold(&traces, &story.events), fold(&traces, &after_erasures(&story.events)));
    }
}

#[test]
fn a_hundred_thousand_items_are_read_page_by_page() {
    let of = execution(1);
    let run = step_run(1, "pytest", 1);
    let mut story = Story::default();
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.step_started(of, &run);
    for _ in 0..100 {
        story.reported(of, &run, &[StepOutcome::Passed; 1000]);
    }
    story.step_finished(of, &run, StepOutcome::Failed);
    let views = fold(&Traces::default(), &story.events);
    let head = head(&views, of);
    assert_eq!((head.step_count, head.partition_count), (100_001, 2001));
    assert!(views.values().step_by(97).all(|view| bytes(view) <= MAX_DOCUMENT_BYTES));
    let first = read(&views, of, 0, 50);
    assert_eq!((first.items.len(), first.next), (50, Some(50)));
    // The end of the step found its item although it is two thousand partitions back.
    assert_eq!((first.items[0].kind, first.items[0].outcome()), (ItemKind::Step, Some(StepOutcome::Failed)));
    let last = read(&views, of, 99_990, 50);
    assert_eq!((last.items.len(), last.next), (11, None));
    assert_eq!(last.items[10].name(), Some("test_999"));
}

#[test]
fn an_event_costs_the_same_in_a_large_trace() {
    let of = execution(1);
    let events = steps(5000);
    let last_step = &events[events.len() - 3..events.len() - 1];
    let mut views = fold(&Traces::default(), &events[..events.len() - 3]);
    let small = fold(&Traces::default(), &steps(51));
    let head_bytes = |views: &Views| bytes(&views[&TraceKey::Head(of)]);
    assert!(head_bytes(&views) < head_bytes(&small) + 200);
    for recorded in last_step {
        let TraceView::Head(_) = &views[&TraceKey::Head(of)] else { panic!("no head") };
        assert_eq!(Traces::default().keys(recorded), [TraceKey::Head(of)]);
        let view = views.get_mut(&TraceKey::Head(of)).unwrap();
        let told = Traces::default().apply(&TraceKey::Head(of), view, recorded);
        // The partition, and the index of texts.
        assert_eq!(told.len(), 2, "{told:?}");
    }
}

#[test]
fn the_items_of_a_suite_are_its_cases() {
    let suite = execution(1);
    for count in [0, 3, 50, 51, 120] {
        let mut story = Story::default();
        story.requested(suite, None, None);
        for case in 0..count {
            story.requested(execution(100 + case), Some(&format!("case-{case}")), Some(suite));
        }
        story.started(suite, 1);
        // They run in another order than they were asked for.
        for case in (0..count).rev() {
            let of = execution(100 + case);
            story.started(of, 1);
            let outcome = if case == 2 { StepOutcome::Failed } else { StepOutcome::Passed };
            story.step(of, &step_run(1, "only", 1), outcome);
            if case == 2 {
                story.failed(of, 1, false, OutcomeTally::new());
            } else {
                story.passed(of, 1, OutcomeTally::new());
            }
        }
        let views = fold(&Traces::default(), &story.events);
        let head = head(&views, suite);
        assert_eq!((u128::from(head.step_count), head.use_embedded_steps), (count, count <= 50));
        assert_eq!(u128::from(head.resource_usage.measured), count);
        for (case, item) in (0..).zip(read_all(&views, suite, 33)) {
            let facts = item.case.as_ref().unwrap();
            assert_eq!((item.kind, item.label.clone()), (ItemKind::Case, format!("case-{case}")));
            assert_eq!((facts.execution_id, facts.is_final), (execution(100 + case), true));
            assert_eq!((item.attempt, facts.duration_ms, facts.usage.user_ms), (1, 100, 2));
            assert_eq!(item.name().unwrap(), format!("the name of case-{case}"));
            assert!(item.started_at.is_some() && facts.finished_at >= item.started_at);
            let failed = facts.failed_step.as_ref().map(|it| (it.step.as_str(), it.outcome));
            assert_eq!(failed, (case == 2).then_some(("only", StepOutcome::Failed)));
            let expected = if case == 2 { ExecutionStatus::Failed } else { ExecutionStatus::Passed };
            assert_eq!(facts.status, expected);
        }
    }
}

#[test]
fn what_the_attempts_of_a_case_cost_is_added_to_its_suite_once() {
    let (suite, mut story) = (execution(1), Story::default());
    story.requested(suite, None, None);
    for case in 2..4 {
        let of = execution(case);
        story.requested(of, Some("case"), Some(suite));
        for attempt in 1..=3 {
            story.started(of, attempt);
            story.step(of, &step_run(attempt, "only", 1), StepOutcome::Failed);
            story.failed(of, attempt, attempt < 3, OutcomeTally::new());
        }
    }
    let views = fold(&Traces::default(), &story.events);
    let cost = UsageTotals { measured: 6, user_ms: 12, system_ms: 6, peak_memory_bytes: 1 << 20 };
    assert_eq!(head(&views, suite).resource_usage, cost);
    let case = &read_all(&views, suite, 9)[0];
    let usage = case.case.as_ref().unwrap().usage;
    assert_eq!((case.attempt, usage.measured, usage.user_ms), (3, 3, 6));
}

/// Folds a story, erases one of its texts, and looks for it.
fn assert_erasable(mut story: Story, event: EventId, text: &str) {
    for traces in [Traces::default(), Traces::with_threshold(0)] {
        let views = fold(&traces, &story.events);
        let holds = |views: &Views| serde_json::to_string(&views.values().collect::<Vec<_>>()).unwrap().contains(text);
        assert!(holds(&views), "{text}");
        let before = story.events.len();
        story.erase(event);
        let views = fold(&traces, &story.events);
        assert!(!holds(&views), "{text}");
        story.events.truncate(before);
    }
}

#[test]
fn each_text_is_erased_with_the_event_it_came_with() {
    let (suite, case, run) = (execution(1), execution(2), step_run(1, "one", 1));
    let tell = || {
        let mut story = Story::default();
        let mut ids = vec![story.requested(suite, None, None), story.requested(case, Some("case"), Some(suite))];
        story.started(case, 1);
        for other in 0..60 {
            story.step(case, &step_run(1, &format!("other-{other}"), 1), StepOutcome::Passed);
        }
        ids.push(story.step_started(case, &run));
        ids.push(story.reported(case, &run, &[StepOutcome::Passed, StepOutcome::Failed]));
        ids.push(story.step_finished(case, &run, StepOutcome::Failed));
        (story, ids)
    };
    let texts =
        ["the name of the suite", "the name of case", "the input of one", "the word of test_1", "the message of one"];
    for (index, text) in texts.into_iter().enumerate() {
        let (story, ids) = tell();
        assert_erasable(story, ids[index], text);
    }
}

/// A text that JSON writes as six times as many bytes.
fn control_characters(count: usize) -> String {
    "\u{1}".repeat(count)
}

fn large_outputs() -> StepOutputs {
    let text = control_characters(3000);
    let excerpt = |stream| OutputExcerpt { stream, head: text.clone(), tail: text.clone(), sha256: Hash::ZERO };
    StepOutputs {
        sealed_captures: Default::default(),
        message: text.clone(),
        excerpts: [OutputStream::Stdout, OutputStream::Stderr, OutputStream::Body].map(excerpt).into(),
        captures: (0..20).map(|n| (format!("name-{n}"), text.clone())).collect(),
        expectations: vec![text.clone(); 20],
    }
}

/// A step of which everything is as large as an event can say it.
fn tell_large_step(story: &mut Story, of: ExecutionId, number: u32) {
    let run = step_run(u32::MAX, &format!("{number}{}", control_characters(1000)), u32::MAX);
    let text = control_characters(3000);
    story.tell(
        of,
        StepStarted {
            content: Erasable::Kept(StepInputs {
                name: text.clone(),
                inputs: vec![text.clone(); 20],
                directory: text.clone(),
                body: text.clone(),
                metadata: (0..20).map(|n| (format!("name-{n}"), text.clone())).collect(),
            }),
            ..step_started(&run)
        },
    );
    let content = Erasable::Kept(VerdictContent { comment: text.clone() });
    story.tell(of, VerdictSubmitted { run: run.clone(), outcome: StepOutcome::Failed, content });
    for _ in 0..10 {
        story.tell(
            of,
            ArtifactAttached {
                run: Some(run.clone()),
                artifact: Hash::ZERO,
                bytes: 1 << 53,
                media_type: text.clone(),
                content: Default::default(),
            },
        );
    }
    let facts = OutputFacts {
        stream: OutputStream::Stdout,
        bytes: 1 << 53,
        dropped_bytes: 1 << 53,
        artifact: Some(Hash::ZERO),
    };
    story.tell(
        of,
        StepFinished {
            duration_ms: 1 << 53,
            exit_code: Some(-(1 << 53)),
            signal: Some(-(1 << 53)),
            http_status: Some(u32::MAX),
            error: Some(StepErrorFacts { kind: ErrorKind::ResourceAllocation, fingerprint: text.clone() }),
            outputs: vec![facts; 20],
            leaked: true,
            signals_sent: vec![text.clone(); 20],
            content: Erasable::Kept(large_outputs()),
            ..step_finished(&run, StepOutcome::Failed)
        },
    );
}

#[test]
fn no_document_is_too_large_whatever_the_events_say() {
    let of = execution(1);
    let mut story = Story::default();
    let text = control_characters(3000);
    let request = RequestContent { name: text.clone(), source: text.clone(), ..Default::default() };
    let (suite, matrix) = (text.clone(), text.clone());
    let request = ExecutionRequested { suite, matrix, content: request.into(), ..requested(Some(&text), None, None) };
    story.tell(of, request);
    for service in 0..30 {
        let service = format!("{service}{text}");
        story.tell(of, ServiceStarted { service: service.clone(), ready_after_ms: 1 << 53, pid: 1 });
        story.tell(
            of,
            ServiceStopped {
                service,
                end: ServiceEnd::NotStarted,
                exit_code: Some(1 << 53),
                signal: Some(1 << 53),
                outputs: vec![],
                content: large_outputs().into(),
            },
        );
    }
    for attempt in 0..60 {
        story.started(of, attempt);
        story.passed(of, attempt, OutcomeTally::new());
    }
    for step in 0..16 {
        story.step_started(of, &step_run(1, &format!("{step}{text}"), 1));
    }
    for step in 0..34 {
        tell_large_step(&mut story, of, step);
    }
    let embedded = fold(&Traces::default(), &story.events);
    let large = bytes(&embedded[&TraceKey::Head(of)]);
    assert!(head(&embedded, of).use_embedded_steps && large <= MAX_DOCUMENT_BYTES, "{large}");
    for step in 34..90 {
        tell_large_step(&mut story, of, step);
    }
    let apart = fold(&Traces::default(), &story.events);
    for (key, view) in &apart {
        assert!(bytes(view) <= MAX_DOCUMENT_BYTES, "{key} has {} bytes", bytes(view));
    }
    let largest = read_all(&apart, of, 500).iter().map(|item| serde_json::to_vec(item).unwrap().len()).max().unwrap();
    assert!((MAX_ITEM_BYTES / 2..=MAX_ITEM_BYTES).contains(&largest), "{largest}");
}

#[test]
fn a_manual_step_has_its_comment_and_its_files_wherever_it_is() {
    let (of, run) = (execution(1), step_run(1, "look", 1));
    for traces in [Traces::default(), Traces::with_threshold(0)] {
        let mut story = Story::default();
        story.requested(of, Some("case"), None);
        story.started(of, 1);
        story.step_started(of, &run);
        for bytes in 0..6 {
            let (artifact, media_type) = (Hash::of(b"file"), "image/png".to_owned());
            let attached = |run| ArtifactAttached { run, artifact, bytes, media_type, content: Default::default() };
            story.tell(of, attached(Some(run.clone()).filter(|_| bytes > 0)));
        }
        let content = Erasable::Kept(VerdictContent { comment: "it is blue".into() });
        let verdict = VerdictSubmitted { run: run.clone(), outcome: StepOutcome::Blocked, content };
        let said = story.tell(of, verdict);
        story.step_finished(of, &run, StepOutcome::Blocked);
        let views = fold(&traces, &story.events);
        let item = &read_all(&views, of, 9)[0];
        assert_eq!(item.comment.as_ref().unwrap().text.as_deref(), Some("it is blue"));
        assert_eq!((item.artifact_count, item.artifacts.len(), item.artifacts[0].bytes), (5, MAX_ITEM_ARTIFACTS, 1));
        assert_eq!(head(&views, of).artifact_count, 1);
        // The erasure finds the comment also where its item went to a partition afterwards.
        for step in 0..60 {
            story.step(of, &step_run(1, &format!("step-{step}"), 1), StepOutcome::Passed);
        }
        assert_eq!(read_all(&fold(&traces, &story.events), of, 99)[0].comment, item.comment);
        story.erase(said);
        let views = fold(&traces, &story.events);
        assert_eq!(read_all(&views, of, 9)[0].comment.as_ref().unwrap().text, None);
    }
}

#[test]
fn services_and_hooks_stand_around_the_items() {
    let of = execution(1);
    let mut story = Story::default();
    story.requested(of, None, None);
    let stop = |service: &str, end, message: &str| ServiceStopped {
        service: service.into(),
        end,
        exit_code: Some(1),
        signal: None,
        outputs: vec![],
        content: Erasable::Kept(StepOutputs { message: message.into(), ..Default::default() }),
    };
    story.tell(of, HookFinished { hook: "before".into(), outcome: StepOutcome::Passed, duration_ms: 3 });
    story.tell(of, ServiceStarted { service: "web".into(), ready_after_ms: 20, pid: 1 });
    story.tell(of, stop("database", ServiceEnd::NotReady, "no port"));
    story.tell(of, stop("web", ServiceEnd::Stopped, ""));
    let views = fold(&Traces::default(), &story.events);
    let head = head(&views, of);
    let [Surrounding::Hook(hook), Surrounding::Service(web), Surrounding::Service(database)] = &head.surroundings[..]
    else {
        panic!("{:?}", head.surroundings)
    };
    assert_eq!((hook.hook.as_str(), hook.duration_ms), ("before", 3));
    assert_eq!((web.ready_after_ms, web.end), (Some(20), Some(ServiceEnd::Stopped)));
    assert_eq!((database.ready_after_ms, database.end), (None, Some(ServiceEnd::NotReady)));
    assert_eq!(database.outputs.as_ref().unwrap().text.as_ref().unwrap().message, "no port");
    assert_eq!((head.step_count, head.surrounding_count), (0, 3));
}

#[test]
fn each_attempt_is_an_item_and_is_listed() {
    let of = execution(1);
    let mut story = Story::default();
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.step(of, &step_run(1, "one", 1), StepOutcome::Failed);
    story.step(of, &step_run(1, "one", 2), StepOutcome::Failed);
    story.failed(of, 1, true, OutcomeTally::new());
    story.tell(of, ExecutionRetryScheduled { attempt: 2, not_before: Default::default() });
    story.started(of, 2);
    story.step(of, &step_run(2, "one", 1), StepOutcome::Passed);
    story.passed(of, 2, OutcomeTally::new());
    let views = fold(&Traces::default(), &story.events);
    let runs: Vec<_> = read_all(&views, of, 9).iter().map(|it| (it.attempt, it.step_attempt, it.outcome())).collect();
    let (failed, passed) = (Some(StepOutcome::Failed), Some(StepOutcome::Passed));
    assert_eq!(runs, [(1, 1, failed), (1, 2, failed), (2, 1, passed)]);
    let head = head(&views, of);
    let attempts: Vec<_> = head.attempts.iter().map(|it| (it.attempt, it.first_item, it.status)).collect();
    assert_eq!(attempts, [(1, 0, Some(ExecutionStatus::Failed)), (2, 2, Some(ExecutionStatus::Passed))]);
    assert_eq!((head.total_duration_ms, head.attempt, head.failed_step.clone()), (200, 2, None));
}

#[test]
fn an_end_without_a_begin_is_not_lost() {
    let of = execution(1);
    let mut story = Story::default();
    for step in 0..40 {
        story.step_started(of, &step_run(1, &format!("open-{step}"), 1));
    }
    story.step_finished(of, &step_run(1, "open-0", 1), StepOutcome::Passed);
    story.step_finished(of, &step_run(1, "open-39", 1), StepOutcome::Passed);
    let views = fold(&Traces::default(), &story.events);
    let items = read_all(&views, of, 99);
    assert_eq!((items.len(), head(&views, of).open_steps.len()), (41, 15));
    assert_eq!((items[0].outcome(), items[39].outcome()), (None, Some(StepOutcome::Passed)));
    assert_eq!((items[40].label.as_str(), items[40].outcome()), ("open-0", Some(StepOutcome::Passed)));
}

#[test]
fn a_page_of_documents_that_do_not_fit_together_is_refused() {
    let of = execution(1);
    let views = fold(&Traces::default(), &steps(120));
    let head = head(&views, of);
    let partition = |number| views[&TraceKey::Partition(of, number)].partition().unwrap().clone();
    let missing = |number| Err(PartitionMissing { execution: of, number });
    assert_eq!(page(head, &[partition(0)], 40, 20), missing(1));
    let mut old = partition(1);
    old.items.pop();
    assert_eq!(page(head, &[old, partition(0)], 40, 80), missing(1));
    assert_eq!(page(head, &[partition(2), partition(1), partition(0)], 40, 80).unwrap().items.len(), 80);
}

#[test]
fn documents_are_read_back_as_they_were_written() {
    let mut histories = Histories::new(7, Hash::of(b"plan"));
    let views = fold(&Traces::with_threshold(5), &recorded(&histories.suite("one", 12)));
    for (key, view) in views {
        let value = serde_json::to_value(&view).unwrap();
        assert!(has_whole_numbers_only(&value), "{value}");
        assert_eq!(serde_json::from_value::<TraceView>(value).unwrap(), view, "{key}");
    }
}
