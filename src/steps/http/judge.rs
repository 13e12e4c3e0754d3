//! A whole response held against what was expected, and captured from.
//!
//! A body longer than the cap is kept in part. Expectations on its text or JSON, and captures from it, then fail with
//! a line that says so: nobody can tell what the rest would have shown.

use std::collections::BTreeMap;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{ErrorKind, OutputExcerpt, OutputFacts};
use testledger_schemas::plan::{CaptureSource, TextExpect};

use super::body::{Body, Whole, record};
use super::exchange::{Exchange, Head};
use crate::event_store::StoreError;
use crate::steps::capture::{CaptureInput, hides_secrets, mark_secrets, secret_texts, take};
use crate::steps::expect::{check_headers, check_json, check_status, check_text, check_within};
use crate::steps::redact::Redactor;
use crate::steps::{Captured, PreparedHttp, StepContext, StepEnd, StepError};

/// A response that is all there.
struct Answer {
    head: Head,
    /// The kept part of the body.
    text: String,
    /// Why the text tells nothing, if it is cut or must not be shown.
    untold: Option<String>,
    outputs: Vec<OutputFacts>,
    excerpts: Vec<OutputExcerpt>,
    redactor: Redactor,
}

/// The end of a step whose response is all there.
pub async fn judge(exchange: Exchange<'_>, duration_ms: u64) -> StepEnd {
    let (http, context) = (exchange.http, exchange.context);
    let Some((head, body, redactor)) = exchange.into_answer() else {
        return StepEnd::error(ErrorKind::Connection, "there is no response", duration_ms);
    };
    let http_status = Some(head.status);
    match answer(http, context, head, body, redactor).await {
        Ok(answer) => StepEnd { http_status, ..conclude(http, answer, duration_ms) },
        Err(error) => {
            let message = context.redactor.text(&format!("the body could not be kept: {error}"));
            StepEnd { http_status, ..StepEnd::error(ErrorKind::Infrastructure, message, duration_ms) }
        }
    }
}

async fn answer(
    http: &PreparedHttp,
    context: &StepContext,
    head: Head,
    body: Body,
    redactor: Redactor,
) -> Result<Answer, StoreError> {
    let received = body.received();
    match body.finish(context).await? {
        Whole::Recorded(recorded) => {
            let text = String::from_utf8_lossy(&recorded.raw).into_owned();
            let (outputs, excerpts) = (vec![recorded.facts], vec![recorded.excerpt]);
            Ok(Answer { head, text, untold: cut(received, &recorded.raw), outputs, excerpts, redactor })
        }
        Whole::Held(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let untold = cut(received, &bytes).or_else(|| hides_secrets(&http.capture, &text));
            let mut answer = Answer { head, text, untold, outputs: vec![], excerpts: vec![], redactor };
            release(http, context, &bytes, &mut answer).await?;
            Ok(answer)
        }
    }
}

/// Records a body that was held back, now that its secrets are known; where they never are, it is not recorded.
async fn release(
    http: &PreparedHttp,
    context: &StepContext,
    bytes: &[u8],
    answer: &mut Answer,
) -> Result<(), StoreError> {
    if answer.untold.is_some() {
        return Ok(());
    }
    let secrets = secret_texts(&http.capture, &input(answer));
    answer.redactor = secrets.iter().fold(answer.redactor.clone(), |redactor, secret| redactor.with(secret));
    let recorded = record(bytes, context, &answer.redactor).await?;
    answer.outputs.push(recorded.facts);
    answer.excerpts.push(recorded.excerpt);
    Ok(())
}

fn input(answer: &Answer) -> CaptureInput<'_> {
    CaptureInput { text: &answer.text, headers: Some(&answer.head.headers), status: Some(answer.head.status) }
}

fn conclude(http: &PreparedHttp, answer: Answer, duration_ms: u64) -> StepEnd {
    let lines = check(http, &answer, duration_ms);
    let expectations: Vec<_> = lines.iter().map(|line| answer.redactor.text(line)).collect();
    let (outcome, error, captures) = match expectations.first() {
        Some(line) => (StepOutcome::Failed, Some((ErrorKind::Expectation, line.clone())), BTreeMap::new()),
        None => match capture(http, &answer) {
            Ok(captures) => (StepOutcome::Passed, None, captures),
            Err(reason) => (StepOutcome::Error, Some((ErrorKind::Capture, reason)), BTreeMap::new()),
        },
    };
    let error = error.map(|(kind, message)| StepError { kind, message });
    let Answer { outputs, excerpts, .. } = answer;
    StepEnd { outcome, error, expectations, captures, outputs, excerpts, ..StepEnd::passed(duration_ms) }
}

/// One line for each expectation that does not hold.
fn check(http: &PreparedHttp, answer: &Answer, duration_ms: u64) -> Vec<String> {
    let (expect, redactor) = (&http.expect, &answer.redactor);
    let mut lines: Vec<_> = check_status(&expect.status, answer.head.status).into_iter().collect();
    lines.extend(check_headers(&expect.headers, &answer.head.headers, redactor));
    match &answer.untold {
        Some(reason) if !expect.json.is_empty() || expect.text != TextExpect::default() => {
            lines.push(format!("the body cannot be checked: {reason}"));
        }
        Some(_) => {}
        None => {
            lines.extend(check_json(&expect.json, &answer.text, redactor));
            lines.extend(check_text(&expect.text, "body", &answer.text, redactor));
        }
    }
    lines.extend(check_within(expect.within_ms, duration_ms));
    lines
}

/// Why the kept part of a body tells nothing, if it is not all of it.
fn cut(received: u64, kept: &[u8]) -> Option<String> {
    let kept = kept.len() as u64;
    (received > kept).then(|| format!("it has {received} bytes, and only the first {kept} are kept"))
}

fn capture(http: &PreparedHttp, answer: &Answer) -> Result<BTreeMap<String, Captured>, String> {
    let from_body = http.capture.iter().find(|(_, capture)| match capture.from {
        CaptureSource::Json(_) | CaptureSource::Regex(_) | CaptureSource::Text => true,
        CaptureSource::Header(_) | CaptureSource::Status => false,
    });
    if let (Some(reason), Some((name, _))) = (&answer.untold, from_body) {
        return Err(format!("cannot capture {name} from the body: {reason}"));
    }
    let taken = take(&http.capture, &input(answer));
    let mut captured = taken.map_err(|reason| answer.redactor.text(&reason))?;
    mark_secrets(&mut captured, &answer.redactor);
    Ok(captured)
}
