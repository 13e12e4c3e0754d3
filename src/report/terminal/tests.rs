//! Golden tests of plain rendering, and of what passes through.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{
    CancelReason, CancellationRequested, ExecutionRecovered, OutputStream, ServiceEnd, ServiceStarted, ServiceStopped,
    StepOutputs,
};

use super::*;
use crate::report::samples::{ROOT, Sample, every_ending, excerpt};

/// A writer that can be looked into.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn on_paper(view: View, no_capture: bool, is_coloured: bool) -> (Progress, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    let progress = Progress::on(view, no_capture, is_coloured, Box::new(out.clone()), Box::new(err.clone()));
    (progress, out, err)
}

fn show(progress: &mut Progress, sample: &Sample) {
    for (execution, event) in &sample.events {
        progress.event(*execution, event);
    }
}

fn closing() -> Closing {
    Closing { page: Some("12:0123abcd".into()), look_closer: format!("testledger executions show {ROOT}") }
}

fn live(step: &str, stream: OutputStream, bytes: &[u8]) -> LiveOutput {
    LiveOutput { execution: ROOT, step: step.into(), stream, bytes: bytes.to_vec() }
}

#[test]
fn every_ending_in_plain_lines() {
    let (mut progress, out, err) = on_paper(View::Lines, false, false);
    show(&mut progress, &every_ending());
    progress.finish(&closing()).unwrap();
    assert_eq!(err.text(), "");
    insta::assert_snapshot!(out.text());
}

#[test]
fn colours_are_only_colours() {
    let render = |is_coloured| {
        let (mut progress, out, _) = on_paper(View::Lines, false, is_coloured);
        show(&mut progress, &every_ending());
        progress.finish(&closing()).unwrap();
        out.text()
    };
    let coloured = render(true);
    assert!(coloured.contains("\u{1b}[1m\u{1b}[32m"));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), render(false));
}

#[test]
fn services_and_lost_workers_are_told() {
    let mut sample = Sample::suite("checkout", 1);
    sample.push(ROOT, ServiceStarted { service: "web".into(), ready_after_ms: 120, pid: 7 });
    let outputs = StepOutputs {
        message: "http://127.0.0.1:9/ did not answer within 5s".into(),
        excerpts: vec![excerpt(OutputStream::Stderr, "address in use\n")],
        ..StepOutputs::default()
    };
    sample.push(
        ROOT,
        ServiceStopped {
            service: "db".into(),
            end: ServiceEnd::NotReady,
            exit_code: None,
            signal: None,
            outputs: vec![],
            content: outputs.into(),
        },
    );
    sample.push(ROOT, ExecutionRecovered { next_step: 1, restarts: false, spent_ms: 0 });
    sample.push(ROOT, CancellationRequested { reason: CancelReason::Signal });
    let unmet = sample.case("unmet");
    sample.cancel(unmet, CancelReason::SetupFailed, 0);
    sample.cancel(ROOT, CancelReason::Signal, 900);
    let (mut progress, out, _) = on_paper(View::Lines, false, false);
    show(&mut progress, &sample);
    progress.finish(&closing()).unwrap();
    insta::assert_snapshot!(out.text());
}

#[test]
fn the_output_of_a_wrapped_command_passes_unchanged() {
    let mut sample = Sample::command("pytest -q");
    sample.start(ROOT, 1);
    sample.step(ROOT, (1, "command", 1), StepOutcome::Failed);
    sample.fail(ROOT, 1, testledger_schemas::event::FailureReason::Step, false);
    let (mut progress, out, err) = on_paper(View::Wrapped, false, false);
    progress.live(&live("command", OutputStream::Stdout, b"\x1b[31mred\x1b[0m, no line end"));
    progress.live(&live("command", OutputStream::Stderr, b"warning\n"));
    show(&mut progress, &sample);
    assert_eq!((out.text().as_str(), err.text().as_str()), ("\u{1b}[31mred\u{1b}[0m, no line end", "warning\n"));
    progress.finish(&closing()).unwrap();
    assert_eq!(out.text(), "\u{1b}[31mred\u{1b}[0m, no line end");
    insta::assert_snapshot!(err.text());
}

#[test]
fn live_output_is_led_by_the_label_line_by_line() {
    let mut sample = Sample::command("unit");
    sample.start(ROOT, 1);
    sample.start_step(ROOT, (1, "one", 1));
    let (mut progress, out, _) = on_paper(View::Lines, true, false);
    show(&mut progress, &sample);
    progress.live(&live("one", OutputStream::Stdout, b"first\nsec"));
    progress.live(&live("one", OutputStream::Stderr, b"other\n"));
    progress.live(&live("one", OutputStream::Stdout, b"ond\nrest"));
    let mut rest = Sample::default();
    rest.finish_step(ROOT, (1, "one", 1), StepOutcome::Passed, |_, _| {});
    show(&mut progress, &rest);
    assert_eq!(out.text(), "unit | first\nunit | other\nunit | second\nunit | rest\n");
}

#[test]
fn without_no_capture_live_output_is_not_shown() {
    let (mut progress, out, err) = on_paper(View::Lines, false, false);
    progress.live(&live("one", OutputStream::Stdout, b"first\n"));
    assert_eq!((out.text(), err.text()), (String::new(), String::new()));
}

#[test]
fn the_first_error_of_writing_is_reported_at_the_end() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut progress = Progress::on(View::Lines, false, false, Box::new(Closed), Box::new(Closed));
    show(&mut progress, &every_ending());
    assert_eq!(progress.finish(&closing()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn what_a_test_prints_cannot_steer_the_terminal() {
    let mut sample = Sample::command("x");
    sample.start(ROOT, 1);
    sample.start_step(ROOT, (1, "one", 1));
    sample.finish_step(ROOT, (1, "one", 1), StepOutcome::Failed, |_, outputs| {
        outputs.message = "\u{1b}]0;title\u{7}\u{1b}[2Jgone\u{8}".into();
        outputs.excerpts = vec![excerpt(OutputStream::Stdout, "a\rb\u{9b}31m\n")];
    });
    sample.fail(ROOT, 1, testledger_schemas::event::FailureReason::Step, false);
    let (mut progress, out, _) = on_paper(View::Lines, false, false);
    show(&mut progress, &sample);
    let steers = |c: char| c.is_control() && c != '\n';
    assert_eq!(out.text().find(steers), None, "{:?}", out.text());
}
