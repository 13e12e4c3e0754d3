//! From what the room `steps/` returns to what the log keeps: bounded, redacted, in the words of the vocabulary.

use std::collections::BTreeMap;

use testledger_schemas::event::{
    ReportContent, StartContent, StepErrorFacts, StepFinished, StepInputs, StepOutputs, StepResultsReported, StepRun,
};

use crate::steps::fingerprint::fingerprint;
use crate::steps::redact::Redactor;
use crate::steps::{Prepared, Reported, StepEnd};

/// The most an event keeps of the inputs of a step, in bytes.
const MAX_INPUT_BYTES: usize = 32 << 10;
/// The most an event keeps of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// The most an event keeps of captured values together, in bytes.
pub const MAX_CAPTURE_BYTES: usize = 256 << 10;

/// The event of a step's end, with its secret captures as they may be kept. `will_retry` says whether the worker would try again.
#[must_use]
pub fn finished(
    run: StepRun,
    end: &StepEnd,
    sealed_captures: BTreeMap<String, String>,
    will_retry: bool,
) -> StepFinished {
    let message = end.error.as_ref().map(|error| cut(&error.message, MAX_MESSAGE_BYTES)).unwrap_or_default();
    let error = end.error.as_ref().map(|error| StepErrorFacts { kind: error.kind, fingerprint: fingerprint(&message) });
    StepFinished {
        run,
        outcome: end.outcome,
        will_retry,
        duration_ms: end.duration_ms,
        exit_code: end.exit_code.map(i64::from),
        signal: end.signal.map(i64::from),
        http_status: end.http_status.map(u32::from),
        error,
        usage: end.usage.clone(),
        outputs: end.outputs.clone(),
        leaked: end.leaked,
        signals_sent: end.signals_sent.clone(),
        content: StepOutputs {
            message,
            excerpts: end.excerpts.clone(),
            captures: recorded_captures(end),
            sealed_captures,
            expectations: bounded(end.expectations.iter().cloned(), MAX_MESSAGE_BYTES),
        }
        .into(),
    }
}

/// Captured values as JSON text; secret ones are not recorded.
fn recorded_captures(end: &StepEnd) -> BTreeMap<String, String> {
    end.captures
        .iter()
        .filter(|(_, captured)| !captured.secret)
        .map(|(name, captured)| (name.clone(), captured.value.to_string()))
        .collect()
}

/// The events of a tool's report, each small enough for a commit of its own.
#[must_use]
pub fn reported(run: &StepRun, reported: &[Reported]) -> Vec<StepResultsReported> {
    let chunks = crate::steps::junit::chunks(reported.to_vec());
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let numbered = (1..).zip(chunks);
    numbered
        .map(|(chunk, reported)| {
            let (results, cases) = reported.into_iter().map(|one| (one.result, one.case)).unzip();
            StepResultsReported {
                run: run.clone(),
                chunk,
                chunks: count,
                results,
                content: ReportContent { cases }.into(),
            }
        })
        .collect()
}

/// Where an attempt runs, redacted.
#[must_use]
pub fn place(place: &StartContent, redactor: &Redactor) -> StartContent {
    let environment = place.environment.iter().map(|(name, value)| (name.clone(), redactor.text(value)));
    StartContent { environment: environment.collect(), directory: redactor.text(&place.directory), ..place.clone() }
}

/// What a step is given, redacted.
#[must_use]
pub fn inputs(name: &str, prepared: &Prepared, redactor: &Redactor) -> StepInputs {
    let (inputs, directory, body) = match prepared {
        Prepared::Run(run) => (run.argv.clone(), run.directory.display().to_string(), String::new()),
        Prepared::Http(http) => {
            let headers = http.headers.iter().map(|(name, value)| format!("{name}: {value}"));
            let line = [http.method.clone(), http.url.clone()].into_iter().chain(headers).collect();
            (line, String::new(), body_text(&http.body))
        }
    };
    StepInputs {
        name: name.to_owned(),
        inputs: bounded(inputs.iter().map(|input| redactor.text(input)), MAX_INPUT_BYTES),
        directory: redactor.text(&directory),
        body: cut(&redactor.text(&body), MAX_INPUT_BYTES),
        metadata: BTreeMap::new(),
    }
}

fn body_text(body: &testledger_schemas::plan::HttpBody) -> String {
    use testledger_schemas::plan::HttpBody;
    match body {
        HttpBody::None => String::new(),
        HttpBody::Json(text) | HttpBody::Text(text) => text.clone(),
        HttpBody::Form(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        }
    }
}

/// As many of the texts as fit, the last one cut; then a word on how many more there were.
fn bounded(texts: impl Iterator<Item = String>, mut bytes: usize) -> Vec<String> {
    let mut kept = vec![];
    let mut left_out = 0_usize;
    for text in texts {
        if bytes == 0 {
            left_out += 1;
            continue;
        }
        let text = cut(&text, bytes);
        bytes = bytes.saturating_sub(text.len().max(1));
        kept.push(text);
    }
    if left_out > 0 {
        kept.push(format!("… {left_out} more"));
    }
    kept
}

/// The beginning of a text, at a character's border, with a word on what was left out.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let kept = &text[..text.floor_char_boundary(bytes)];
    format!("{kept}… ({} bytes left out)", text.len() - kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(cut("äöü", 3), "ä… (4 bytes left out)");
        let texts = ["abc", "def", "ghi"].map(str::to_owned);
        assert_eq!(bounded(texts.clone().into_iter(), 9), texts);
        assert_eq!(bounded(texts.into_iter(), 3), ["abc", "… 2 more"]);
    }
}
