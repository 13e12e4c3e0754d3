//! From events to items: bounded copies of what an event says.

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{
    ArtifactAttached, ExecutionRequested, OutputExcerpt, OutputFacts, ReportedResult, StepFinished, StepInputs,
    StepOutputs, StepResultsReported, StepStarted, VerdictSubmitted,
};
use testledger_schemas::{Erasable, ExecutionId, ExecutionStatus};

use super::facts::{Excerpt, InputTexts, ItemArtifact, OutputTexts, Told, UsageTotals};
use super::item::{CaseFacts, ItemEnd, ItemKind, TraceItem};
use crate::cut::{self, Budget, head};
use crate::projection::Recorded;

/// The most of a name, in bytes.
pub(super) const NAME_BYTES: usize = 512;
/// The most of the inputs together with directory and body, in bytes.
const INPUT_BYTES: usize = 768;
/// The most of the metadata, in bytes.
const METADATA_BYTES: usize = 512;
/// The most of a message, in bytes.
pub(super) const MESSAGE_BYTES: usize = 1024;
/// The most of all that was printed, in bytes.
const EXCERPT_BYTES: usize = 1280;
/// The most of captured values, and of expectations, in bytes.
const FINDING_BYTES: usize = 512;
/// The most of the comment with a verdict, in bytes.
const COMMENT_BYTES: usize = 512;
/// How many sources of output an item lists. A step has two.
const MAX_PRINTED: usize = 3;
/// How many signals an item lists. A step is sent two.
const MAX_SIGNALS: usize = 4;

/// The texts of an event: kept ones cut to bounds, erased ones not at all.
pub(super) fn told<T, U>(recorded: &Recorded, content: &Erasable<T>, cut: impl FnOnce(&T) -> U) -> Told<U> {
    Told { event_id: recorded.event_id, commit: recorded.commit.number, text: content.kept().map(cut) }
}

/// The item of a step that begins.
pub(super) fn started(event: &StepStarted, recorded: &Recorded) -> TraceItem {
    let run = &event.run;
    TraceItem {
        step_key: Some(event.step_key),
        action: Some(event.action),
        started_at: Some(recorded.recorded_at),
        inputs: Some(told(recorded, &event.content, inputs)),
        ..TraceItem::bare(ItemKind::Step, cut::id(&run.step), run.attempt, run.step_attempt)
    }
}

fn inputs(content: &StepInputs) -> InputTexts {
    let mut budget = Budget::of(INPUT_BYTES);
    InputTexts {
        name: head(&content.name, NAME_BYTES),
        inputs: budget.list(&content.inputs),
        directory: budget.head(&content.directory),
        body: budget.head(&content.body),
        metadata: Budget::of(METADATA_BYTES).map(&content.metadata),
    }
}

/// The end of a step's run.
pub(super) fn ended(event: &StepFinished, recorded: &Recorded) -> ItemEnd {
    ItemEnd {
        outcome: event.outcome,
        will_retry: event.will_retry,
        finished_at: recorded.recorded_at,
        duration_ms: event.duration_ms,
        exit_code: event.exit_code,
        signal: event.signal,
        http_status: event.http_status,
        error: event.error.as_ref().map(cut::error),
        detail: None,
        usage: event.usage.clone(),
        printed: event.outputs.iter().take(MAX_PRINTED).cloned().collect::<Vec<OutputFacts>>(),
        leaked: event.leaked,
        signals_sent: event.signals_sent.iter().take(MAX_SIGNALS).map(|signal| cut::word(signal)).collect(),
        outputs: told(recorded, &event.content, outputs),
    }
}

/// What a step or service gave.
pub(super) fn outputs(content: &StepOutputs) -> OutputTexts {
    let mut findings = Budget::of(FINDING_BYTES);
    OutputTexts {
        message: head(&content.message, MESSAGE_BYTES),
        excerpts: excerpts(&content.excerpts, EXCERPT_BYTES),
        captures: findings.map(&content.captures),
        expectations: findings.list(&content.expectations),
    }
}

/// Of each source the same share of the bytes. What was printed last tells more than what came first.
pub(super) fn excerpts(printed: &[OutputExcerpt], bytes: usize) -> Vec<Excerpt> {
    let shown = printed.iter().filter(|excerpt| !excerpt.head.is_empty()).take(MAX_PRINTED);
    let share = bytes / shown.clone().count().max(1);
    shown.map(|excerpt| cut_excerpt(excerpt, share)).collect()
}

fn cut_excerpt(excerpt: &OutputExcerpt, bytes: usize) -> Excerpt {
    let whole = Budget::of(bytes).head(&excerpt.head);
    if excerpt.tail.is_empty() && whole == excerpt.head {
        return Excerpt { stream: excerpt.stream, head: whole, tail: String::new() };
    }
    let end = if excerpt.tail.is_empty() { &excerpt.head } else { &excerpt.tail };
    Excerpt {
        stream: excerpt.stream,
        head: Budget::of(bytes / 3).head(&excerpt.head),
        tail: Budget::of(bytes - bytes / 3).tail(end),
    }
}

/// The items of a chunk of a tool's report.
pub(super) fn reported(event: &StepResultsReported, recorded: &Recorded) -> Vec<TraceItem> {
    let rows = event.results.iter().enumerate();
    rows.map(|(row, result)| reported_one(event, row, result, recorded)).collect()
}

fn reported_one(event: &StepResultsReported, row: usize, result: &ReportedResult, recorded: &Recorded) -> TraceItem {
    let run = &event.run;
    let case = event.content.kept().and_then(|content| content.cases.get(row));
    let (event_id, commit) = (recorded.event_id, recorded.commit.number);
    let name = case.map(|case| InputTexts { name: head(&case.name, NAME_BYTES), ..InputTexts::default() });
    let message =
        case.map(|case| OutputTexts { message: head(&case.message, MESSAGE_BYTES), ..OutputTexts::default() });
    let end = ItemEnd {
        error: result.error.as_ref().map(cut::error),
        detail: result.detail.as_ref().map(|detail| cut::word(detail)),
        ..bare_end(result.outcome, result.duration_ms, Told { event_id, commit, text: message }, recorded)
    };
    TraceItem {
        step_key: Some(result.step_key),
        inputs: Some(Told { event_id, commit, text: name }),
        end: Some(end),
        ..TraceItem::bare(ItemKind::Reported, cut::id(&run.step), run.attempt, run.step_attempt)
    }
}

fn bare_end(outcome: StepOutcome, duration_ms: u64, outputs: Told<OutputTexts>, recorded: &Recorded) -> ItemEnd {
    ItemEnd {
        outcome,
        will_retry: false,
        finished_at: recorded.recorded_at,
        duration_ms,
        exit_code: None,
        signal: None,
        http_status: None,
        error: None,
        detail: None,
        usage: None,
        printed: vec![],
        leaked: false,
        signals_sent: vec![],
        outputs,
    }
}

/// The item of a case, in the trace of its suite.
pub(super) fn case(event: &ExecutionRequested, execution_id: ExecutionId, recorded: &Recorded) -> TraceItem {
    let case = event.case.as_deref().unwrap_or_default();
    let label = if event.matrix.is_empty() { case.to_owned() } else { format!("{case}[{}]", event.matrix) };
    let name = |name: &str| InputTexts { name: head(name, NAME_BYTES), ..InputTexts::default() };
    TraceItem {
        inputs: Some(told(recorded, &event.content, |content| name(&content.name))),
        case: Some(CaseFacts {
            execution_id,
            status: ExecutionStatus::Pending,
            is_final: false,
            finished_at: None,
            duration_ms: 0,
            usage: UsageTotals::default(),
            failed_step: None,
        }),
        ..TraceItem::bare(ItemKind::Case, cut::id(&label), 0, 0)
    }
}

/// A kept file.
pub(super) fn artifact(event: &ArtifactAttached) -> ItemArtifact {
    let media_type = cut::word(&event.media_type);
    ItemArtifact { artifact: event.artifact, bytes: event.bytes, media_type }
}

/// What a person wrote with a verdict.
pub(super) fn comment(event: &VerdictSubmitted, recorded: &Recorded) -> Told<String> {
    told(recorded, &event.content, |content| head(&content.comment, COMMENT_BYTES))
}

#[cfg(test)]
mod tests {
    use testledger_schemas::Hash;
    use testledger_schemas::event::OutputStream;

    use super::*;

    fn shown(head: &str, tail: &str, bytes: usize) -> (String, String) {
        let printed =
            OutputExcerpt { stream: OutputStream::Stdout, head: head.into(), tail: tail.into(), sha256: Hash::ZERO };
        let mut shown = excerpts(&[printed], bytes);
        let excerpt = shown.remove(0);
        (excerpt.head, excerpt.tail)
    }

    #[test]
    fn of_long_output_the_beginning_and_more_of_the_end_is_shown() {
        assert_eq!(shown("all of it", "", 30), ("all of it".into(), String::new()));
        assert_eq!(shown("0123456789abcdefghij", "", 18), ("012…".into(), "…bcdefghij".into()));
        assert_eq!(shown("0123456789", "abcdefghijklm", 18), ("012…".into(), "…efghijklm".into()));
        assert_eq!(excerpts(&[], 18), []);
    }
}
