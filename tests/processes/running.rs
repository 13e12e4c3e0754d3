//! Steps that run commands: outcomes, output, captures, reports.

use std::fs;
use std::time::Duration;

use testledger::steps::command::run;
use testledger_schemas::event::ErrorKind;
use testledger_schemas::plan::{Capture, CaptureSource};
use testledger_schemas::{Hash, StepOutcome};

use crate::support::{context, prepared, spawner};

#[tokio::test]
async fn a_command_that_does_what_it_should_passes() {
    let context = context(spawner().await);
    let end = run(&prepared("echo hello; echo oops >&2"), &context).await;
    assert_eq!((end.outcome, end.error, end.exit_code), (StepOutcome::Passed, None, Some(0)));
    assert_eq!(end.excerpts.iter().map(|it| it.head.as_str()).collect::<Vec<_>>(), ["hello\n", "oops\n"]);
    assert_eq!(end.excerpts[0].sha256, Hash::of(b"hello\n"));
    assert!(!end.leaked && end.signals_sent.is_empty() && end.usage.is_some());
}

#[tokio::test]
async fn each_way_of_failing_has_its_kind() {
    let context = context(spawner().await);
    let mut expects = prepared("echo hello");
    expects.expect.stdout.contains = vec!["goodbye".to_owned()];
    let mut captures = prepared("echo hello");
    captures.capture.insert("token".to_owned(), Capture { from: CaptureSource::Json("$.x".to_owned()), secret: false });
    let mut unstartable = prepared("");
    unstartable.argv = vec!["no-such-program-hunter22".to_owned()];
    let mut reportless = prepared("true");
    reportless.junit = Some("/no/such/report.xml".into());
    let cases = [
        (prepared("exit 3"), StepOutcome::Failed, ErrorKind::ExitCode, "exit code 3, expected 0"),
        (prepared("kill -11 $$"), StepOutcome::Failed, ErrorKind::Signal, "ended by signal 11 (SIGSEGV)"),
        (expects, StepOutcome::Failed, ErrorKind::Expectation, "goodbye"),
        (captures, StepOutcome::Error, ErrorKind::Capture, "cannot capture token"),
        (unstartable, StepOutcome::Error, ErrorKind::Spawn, "there is no program `no-such-program-***`"),
        (reportless, StepOutcome::Error, ErrorKind::Report, "was not written"),
    ];
    for (prepared, outcome, kind, text) in cases {
        let end = run(&prepared, &context).await;
        let error = end.error.unwrap();
        assert_eq!((end.outcome, error.kind), (outcome, kind), "{}", error.message);
        assert!(error.message.contains(text), "{}", error.message);
    }
}

#[tokio::test]
async fn secrets_are_seen_nowhere_and_known_to_the_next_step() {
    let context = context(spawner().await);
    let mut prepared = prepared("echo '{\"token\": \"s3cr3t-value\"}'; echo s3cr3t-value hunter22 >&2");
    prepared
        .capture
        .insert("token".to_owned(), Capture { from: CaptureSource::Json("$.token".to_owned()), secret: true });
    let end = run(&prepared, &context).await;
    assert_eq!(end.outcome, StepOutcome::Passed, "{:?}", end.error);
    assert_eq!(end.captures["token"].value, "s3cr3t-value");
    assert_eq!(
        end.excerpts.iter().map(|it| it.head.as_str()).collect::<Vec<_>>(),
        ["{\"token\": \"***\"}\n", "*** ***\n"]
    );
}

#[tokio::test]
async fn much_output_is_counted_hashed_and_kept_up_to_the_cap() {
    let mut context = context(spawner().await);
    context.timeout = Some(Duration::from_secs(120));
    let end = run(&prepared("head -c 200000000 /dev/zero | tr '\\0' 'x'"), &context).await;
    assert_eq!(end.outcome, StepOutcome::Passed, "{:?}", end.error);
    let (facts, excerpt) = (&end.outputs[0], &end.excerpts[0]);
    assert_eq!((facts.bytes, facts.dropped_bytes), (200_000_000, 200_000_000 - (1 << 20)));
    assert_eq!((excerpt.head.len(), excerpt.tail.len()), (8 * 1024, 8 * 1024));
    let kept = context.log.get_artifact(facts.artifact.unwrap()).await.unwrap().unwrap();
    assert_eq!(kept, vec![b'x'; 1 << 20]);
    // `head -c 200000000 /dev/zero | tr '\0' x | sha256sum`
    assert_eq!(excerpt.sha256.to_string(), SHA_OF_200_MB);
}

#[tokio::test]
async fn binary_output_is_shown_as_text_and_kept_as_it_is() {
    let context = context(spawner().await);
    let end = run(&prepared("printf 'a\\377\\000b\\303\\251'"), &context).await;
    assert_eq!(end.excerpts[0].head, "a\u{fffd}\0b\u{e9}");
    let kept = context.log.get_artifact(end.outputs[0].artifact.unwrap()).await.unwrap().unwrap();
    assert_eq!(kept, b"a\xff\0b\xc3\xa9");
    assert_eq!(end.excerpts[0].sha256, Hash::of(&kept));
}

const SHA_OF_200_MB: &str = "8b7906cb69a6634de16c8e34b1342bd0d32a5f42a697ef3bac7e3b99e132f5a4";

const REPORT: &str = "<testsuite name='s'><testcase name='good' time='0.5'/>\
                      <testcase name='bad'><failure message='hunter22 is wrong'>x</failure></testcase></testsuite>";

#[tokio::test]
async fn a_report_gives_results_and_failures_in_it_fail_the_step() {
    let context = context(spawner().await);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source.xml"), REPORT).unwrap();
    let step = |line: &str| {
        let mut step = prepared(line);
        step.directory = folder.path().to_owned();
        step.junit = Some(folder.path().join("out.xml"));
        step
    };
    let end = run(&step("cp source.xml out.xml"), &context).await;
    let error = end.error.unwrap();
    assert_eq!((end.outcome, error.kind), (StepOutcome::Failed, ErrorKind::Assertion));
    assert!(error.message.contains("1 of 2 test cases failed"), "{}", error.message);
    assert_eq!(end.reported.len(), 2);
    assert!(end.reported[1].case.message.contains("*** is wrong"), "{}", end.reported[1].case.message);

    // The same again, written anew with the same content: a new report.
    let end = run(&step("cp source.xml out.xml; exit 1"), &context).await;
    assert_eq!((end.reported.len(), end.error.unwrap().kind), (2, ErrorKind::ExitCode));

    // Not written: the old one is there, and proves nothing.
    let end = run(&step("true"), &context).await;
    let error = end.error.unwrap();
    assert_eq!((end.outcome, error.kind, end.reported.len()), (StepOutcome::Error, ErrorKind::Report, 0));
    assert!(error.message.contains("from before this step"), "{}", error.message);
    let end = run(&step("exit 4"), &context).await;
    assert_eq!(end.error.unwrap().kind, ErrorKind::ExitCode);

    // A pipe instead of a file does not hang the step.
    let end = run(&step("rm out.xml; mkfifo out.xml"), &context).await;
    assert_eq!(end.error.unwrap().kind, ErrorKind::Report);
}
