//! How a run ended, held against what was expected. The order of the checks is the table of the module above.

use std::collections::BTreeMap;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{ErrorKind, OutputStream};
use testledger_schemas::plan::TextExpect;

use super::course::{Course, Stop};
use super::kind_of;
use super::report::{self, ReportFile};
use super::streams::{Held, Keeper, Streams};
use crate::event_store::StoreError;
use crate::steps::capture::{self, CaptureInput, hides_secrets, mark_secrets, secret_texts};
use crate::steps::expect::{check_text, check_within};
use crate::steps::launcher::Exit;
use crate::steps::output::Recorded;
use crate::steps::redact::Redactor;
use crate::steps::{Captured, PreparedRun, Reported, StepContext, StepEnd, StepError};

/// Both streams as they were recorded.
struct Output {
    stdout: Option<Recorded>,
    stderr: Option<Recorded>,
    /// Why the standard output tells nothing, if its secrets could not be told from the rest.
    untold: Option<String>,
    /// Knows the secrets that were captured, too.
    redactor: Redactor,
}

/// The end of a step whose process has ended.
pub async fn judge(
    run: &PreparedRun,
    context: &StepContext,
    course: Course,
    streams: Streams,
    report: Option<ReportFile>,
) -> StepEnd {
    let base = facts(&course);
    let output = match output(run, context, streams).await {
        Ok(output) => output,
        Err(message) => {
            let message = context.redactor.text(&message);
            return StepEnd { outcome: StepOutcome::Error, error: some(ErrorKind::Infrastructure, message), ..base };
        }
    };
    let report = match (&course.exit, course.stopped, report) {
        (Ok(exit), None, Some(report)) if exit.code.is_some() => {
            Some(report.read(context, output.redactor.clone()).await)
        }
        (Ok(_) | Err(_), _, _) => None,
    };
    conclude(run, &course, output, report, base)
}

/// What is known of the run without looking at its output.
fn facts(course: &Course) -> StepEnd {
    let exit = course.exit.as_ref().ok();
    StepEnd {
        exit_code: exit.and_then(|exit| exit.code),
        signal: exit.and_then(|exit| exit.signal),
        usage: exit.map(|exit| exit.usage.clone()),
        leaked: course.leaked,
        signals_sent: course.signals_sent.clone(),
        ..StepEnd::passed(course.duration_ms)
    }
}

fn some(kind: ErrorKind, message: String) -> Option<StepError> {
    Some(StepError { kind, message })
}

async fn output(run: &PreparedRun, context: &StepContext, streams: Streams) -> Result<Output, String> {
    let unkept = |error: StoreError| format!("the output could not be kept: {error}");
    match streams.into_read() {
        Some((Keeper::Recorder(stdout), Keeper::Recorder(stderr))) => {
            let stdout = Some(stdout.finish(&context.log).await.map_err(unkept)?);
            let stderr = Some(stderr.finish(&context.log).await.map_err(unkept)?);
            Ok(Output { stdout, stderr, untold: None, redactor: context.redactor.clone() })
        }
        Some((Keeper::Held(stdout), Keeper::Held(stderr))) => {
            release(run, context, stdout, stderr).await.map_err(unkept)
        }
        Some(_) | None => Err("a reader of the output was lost".to_owned()),
    }
}

/// Records what was held back, now that its secrets are known; where they never are, nothing of it is recorded.
async fn release(run: &PreparedRun, context: &StepContext, stdout: Held, stderr: Held) -> Result<Output, StoreError> {
    let text = String::from_utf8_lossy(&stdout.bytes).into_owned();
    let cut = (!stdout.is_whole())
        .then(|| format!("it has {} bytes, and only the first {} are kept", stdout.received, stdout.bytes.len()));
    let untold = cut.or_else(|| hides_secrets(&run.capture, &text));
    let redactor = context.redactor.clone();
    if untold.is_some() || !stderr.is_whole() {
        let untold = untold.or_else(|| Some("the standard error is too long to be searched for the secret".to_owned()));
        return Ok(Output { stdout: None, stderr: None, untold, redactor });
    }
    let secrets = secret_texts(&run.capture, &input(&text));
    let redactor = secrets.iter().fold(redactor, |redactor, secret| redactor.with(secret));
    let stdout = Some(stdout.record(context, OutputStream::Stdout, &redactor).await?);
    let stderr = Some(stderr.record(context, OutputStream::Stderr, &redactor).await?);
    Ok(Output { stdout, stderr, untold: None, redactor })
}

fn input(text: &str) -> CaptureInput<'_> {
    CaptureInput { text, headers: None, status: None }
}

fn conclude(
    run: &PreparedRun,
    course: &Course,
    output: Output,
    report: Option<Result<Vec<Reported>, String>>,
    base: StepEnd,
) -> StepEnd {
    let redactor = output.redactor.clone();
    let mut end = base;
    let (reported, unread) = match report {
        Some(Ok(reported)) => (reported, None),
        Some(Err(message)) => (vec![], Some(message)),
        None => (vec![], None),
    };
    let verdict = own_end(run, course, &mut end, &output, report::failures(&reported))
        .or_else(|| unread.map(|message| (StepOutcome::Error, Some((ErrorKind::Report, message)))))
        .or_else(|| report::failures(&reported).map(|it| (StepOutcome::Failed, Some((ErrorKind::Assertion, it)))));
    let verdict = match verdict {
        Some(verdict) => Some(verdict),
        None => match captures(run, &output) {
            Ok(captures) => {
                end.captures = captures;
                None
            }
            Err(message) => Some((StepOutcome::Error, Some((ErrorKind::Capture, message)))),
        },
    };
    if let Some((outcome, error)) = verdict {
        end.outcome = outcome;
        end.error = error.map(|(kind, message)| StepError { kind, message: redactor.text(&message) });
    }
    end.reported = reported;
    for recorded in [output.stdout, output.stderr].into_iter().flatten().filter(|recorded| recorded.facts.bytes > 0) {
        end.outputs.push(recorded.facts);
        end.excerpts.push(recorded.excerpt);
    }
    end
}

/// An outcome other than PASSED, and what went wrong.
type Verdict = (StepOutcome, Option<(ErrorKind, String)>);

/// What is to be said of the command's own end and of its output.
fn own_end(
    run: &PreparedRun,
    course: &Course,
    end: &mut StepEnd,
    output: &Output,
    failures: Option<String>,
) -> Option<Verdict> {
    let exit = match &course.exit {
        Ok(exit) => exit,
        Err(error) => return Some((StepOutcome::Error, Some((kind_of(error), error.to_string())))),
    };
    match course.stopped {
        Some(Stop::Cancelled) => return Some((StepOutcome::Cancelled, None)),
        Some(Stop::Timeout) => return Some((StepOutcome::Timeout, Some((ErrorKind::Timeout, timed_out(course))))),
        None => {}
    }
    let wrong = wrong_exit(run, exit);
    let lines = wrong.iter().map(|(_, line)| line.clone()).chain(expectations(run, course, output));
    end.expectations = lines.map(|line| output.redactor.text(&line)).collect();
    if let Some((kind, line)) = wrong {
        let message = failures.map_or(line.clone(), |failures| format!("{line}; {failures}"));
        return Some((StepOutcome::Failed, Some((kind, message))));
    }
    let line = end.expectations.first()?.clone();
    Some((StepOutcome::Failed, Some((ErrorKind::Expectation, line))))
}

fn timed_out(course: &Course) -> String {
    let signals: Vec<_> = course.signals_sent.iter().map(|signal| format!("SIG{signal}")).collect();
    format!("timed out after {} ms and was stopped ({})", course.duration_ms, signals.join(", then "))
}

fn wrong_exit(run: &PreparedRun, exit: &Exit) -> Option<(ErrorKind, String)> {
    let expected = &run.expect.exit_codes;
    match (exit.code, exit.signal) {
        (Some(code), _) if expected.contains(&code) => None,
        (Some(code), _) => {
            let expected: Vec<_> = expected.iter().map(i32::to_string).collect();
            Some((ErrorKind::ExitCode, format!("exit code {code}, expected {}", expected.join(" or "))))
        }
        (None, Some(signal)) => Some((ErrorKind::Signal, format!("ended by {}", signal_name(signal)))),
        (None, None) => Some((ErrorKind::Signal, "it could not be ended, not even by SIGKILL".to_owned())),
    }
}

fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(name) => format!("signal {signal} ({name})"),
        Err(_) => format!("signal {signal}"),
    }
}

/// One line for each expectation on output and time that does not hold.
fn expectations(run: &PreparedRun, course: &Course, output: &Output) -> Vec<String> {
    let mut lines = vec![];
    let streams = [("stdout", &run.expect.stdout, &output.stdout), ("stderr", &run.expect.stderr, &output.stderr)];
    for (subject, expect, recorded) in streams {
        if *expect == TextExpect::default() {
            continue;
        }
        match recorded {
            Some(recorded) => lines.extend(check_stream(expect, subject, recorded, &output.redactor)),
            None => {
                let reason = output.untold.as_deref().unwrap_or("it is not kept");
                lines.push(format!("{subject} cannot be checked: {reason}"));
            }
        }
    }
    lines.extend(check_within(run.expect.within_ms, course.duration_ms));
    lines
}

/// The kept part of a stream: what is found there is there, but what is not there may be in the rest.
fn check_stream(expect: &TextExpect, subject: &str, recorded: &Recorded, redactor: &Redactor) -> Vec<String> {
    let text = String::from_utf8_lossy(&recorded.raw);
    let mut lines = check_text(expect, subject, &text, redactor);
    let needs_all = expect.equals.is_some() || !expect.not_contains.is_empty();
    if !recorded.raw_is_whole && (needs_all || !lines.is_empty()) {
        let (bytes, kept) = (recorded.facts.bytes, recorded.raw.len());
        lines.push(format!("{subject} has {bytes} bytes, and only the first {kept} could be checked"));
    }
    lines
}

fn captures(run: &PreparedRun, output: &Output) -> Result<BTreeMap<String, Captured>, String> {
    let Some(first) = run.capture.keys().next() else { return Ok(BTreeMap::new()) };
    let Some(stdout) = &output.stdout else {
        let reason = output.untold.as_deref().unwrap_or("it is not kept");
        return Err(format!("cannot capture {first} from the standard output: {reason}"));
    };
    if !stdout.raw_is_whole {
        let (bytes, kept) = (stdout.facts.bytes, stdout.raw.len());
        return Err(format!("cannot capture {first}: stdout has {bytes} bytes, and only the first {kept} are kept"));
    }
    let text = String::from_utf8_lossy(&stdout.raw);
    let mut captured = capture::take(&run.capture, &input(&text))?;
    mark_secrets(&mut captured, &output.redactor);
    Ok(captured)
}
