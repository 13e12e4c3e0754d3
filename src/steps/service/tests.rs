//! Services that are real processes on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use testledger_schemas::event::OutputStream;
use tokio::net::TcpListener;

use super::*;
use crate::steps::spawner::tests::test_spawner;
use crate::steps::testing::{context as step_context, free_port};

async fn context() -> ServiceContext {
    let step = step_context();
    ServiceContext {
        execution: step.execution,
        launcher: test_spawner().await,
        http: step.http,
        log: step.log,
        redactor: step.redactor,
        output: step.output,
        live: None,
        cancel: step.cancel,
        grace: Duration::from_secs(20),
    }
}

/// A service with a generous patience.
fn spec(argv: &[&str], ready: Ready) -> ServiceSpec {
    let path = std::env::var("PATH").unwrap();
    ServiceSpec {
        id: "web".to_owned(),
        argv: argv.iter().map(|it| (*it).to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), path)]).into_iter().collect(),
        directory: std::env::temp_dir(),
        ready,
        ready_timeout: Duration::from_secs(60),
    }
}

fn shell(line: &str, ready: Ready) -> ServiceSpec {
    spec(&["sh", "-c", line], ready)
}

async fn failed(spec: ServiceSpec) -> ServiceReport {
    let failure = start(spec, context().await).await.err().expect("it must not become ready");
    assert!(!failure.cancelled);
    assert_eq!(failure.to_string(), failure.report.message);
    *failure.report
}

fn is_there(pid: u32) -> bool {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), None).is_ok()
}

fn web_server(port: u16, ready: Ready) -> ServiceSpec {
    let folder = tempfile::tempdir().unwrap().keep();
    let argv = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", &port.to_string()];
    ServiceSpec { directory: folder, ..spec(&argv, ready) }
}

#[tokio::test]
async fn ready_when_http_answers_and_gone_after_the_stop() {
    let port = free_port().await;
    let spec = web_server(port, Ready::Http(format!("http://127.0.0.1:{port}/")));
    let folder = spec.directory.clone();
    let service = start(spec, context().await).await.unwrap();
    let pid = service.pid();
    assert!(is_there(pid));
    let report = service.stop(Duration::from_secs(20)).await;
    assert_eq!((report.end, report.signal, report.message.as_str()), (ServiceEnd::Stopped, Some(15), ""));
    assert!(!is_there(pid));
    let stderr = report.excerpts.iter().find(|it| it.stream == OutputStream::Stderr).unwrap();
    assert!(stderr.head.contains("\"GET / HTTP/1.1\" 200"), "{}", stderr.head);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn ready_when_tcp_answers() {
    let port = free_port().await;
    let spec = web_server(port, Ready::Tcp(format!("127.0.0.1:{port}")));
    let folder = spec.directory.clone();
    let service = start(spec, context().await).await.unwrap();
    assert_eq!(service.stop(Duration::from_secs(20)).await.end, ServiceEnd::Stopped);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn ready_when_the_log_says_so_on_either_stream() {
    for redirect in ["", ">&2"] {
        let line = format!("sleep 0.1; echo 'listening on 80' {redirect}; exec sleep 600");
        let service =
            start(shell(&line, Ready::Log("^listening on [0-9]+$".to_owned())), context().await).await.unwrap();
        assert!(service.ready_after_ms() >= 100);
        assert_eq!(service.stop(Duration::from_secs(20)).await.signal, Some(15));
    }
}

#[tokio::test]
async fn ready_as_soon_as_it_runs_and_its_output_is_live_and_redacted() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let live = Arc::new(move |output: crate::steps::context::LiveOutput| {
        assert_eq!((output.step.as_str(), output.stream), ("web", OutputStream::Stdout));
        let _ = sender.send(output.bytes);
    });
    let context = ServiceContext { live: Some(live), ..context().await };
    let service = start(shell("echo token hunter22; exec sleep 600", Ready::Started), context).await.unwrap();
    let mut printed = vec![];
    while !printed.ends_with(b"\n") {
        printed.extend(seen.recv().await.unwrap());
    }
    let report = service.stop(Duration::from_secs(20)).await;
    assert_eq!((report.end, report.message.as_str()), (ServiceEnd::Stopped, ""));
    assert_eq!(report.excerpts[0].head, "token ***\n");
    assert_eq!(printed, b"token ***\n");
}

#[tokio::test]
async fn a_death_in_the_middle_is_noticed_and_reported() {
    let line = "echo up; sleep 0.1; echo 'out of memory' >&2; exit 3";
    let mut service = start(shell(line, Ready::Log("up".to_owned())), context().await).await.unwrap();
    assert_eq!(service.exited().await.unwrap().code, Some(3));
    let report = service.stop(Duration::from_secs(20)).await;
    assert_eq!((report.end, report.exit_code), (ServiceEnd::Exited, Some(3)));
    assert_eq!(report.message, "service web ended by itself: exit code 3\n  out of memory");
}

#[tokio::test]
async fn a_process_that_ends_first_is_a_failure_with_its_last_lines() {
    let line = "for n in 1 2 3 4 5 6; do echo line $n; done; exit 7";
    let report = failed(shell(line, Ready::Log("never".to_owned()))).await;
    assert_eq!((report.end, report.exit_code), (ServiceEnd::Exited, Some(7)));
    let lines = "\n  line 2\n  line 3\n  line 4\n  line 5\n  line 6";
    assert_eq!(report.message, format!("service web ended before it was ready: exit code 7{lines}"));
    assert_eq!(report.outputs.len(), 2);
}

#[tokio::test]
async fn one_that_is_never_ready_is_stopped_and_the_last_try_is_told() {
    let port = free_port().await;
    let short = |ready| ServiceSpec { ready_timeout: Duration::from_millis(300), ..shell("exec sleep 600", ready) };
    let report = failed(short(Ready::Tcp(format!("127.0.0.1:{port}")))).await;
    assert_eq!((report.end, report.signal), (ServiceEnd::NotReady, Some(15)));
    let last = format!("cannot connect to 127.0.0.1:{port}: Connection refused (os error 111)");
    assert_eq!(report.message, format!("service web was not ready within 300 ms: {last}; it printed nothing"));

    let report = failed(short(Ready::Http(format!("http://127.0.0.1:{port}/up")))).await;
    let last = format!("GET http://127.0.0.1:{port}/up is not answered: Connection refused (os error 111)");
    assert_eq!(report.message, format!("service web was not ready within 300 ms: {last}; it printed nothing"));

    let report = failed(short(Ready::Log("up".to_owned()))).await;
    let last = "no line of its output matches /up/";
    assert_eq!(report.message, format!("service web was not ready within 300 ms: {last}; it printed nothing"));
}

#[tokio::test]
async fn an_answer_that_is_an_error_is_not_readiness() {
    let port = free_port().await;
    let spec = web_server(port, Ready::Http(format!("http://127.0.0.1:{port}/absent")));
    let folder = spec.directory.clone();
    let report = failed(ServiceSpec { ready_timeout: Duration::from_secs(5), ..spec }).await;
    assert_eq!(report.end, ServiceEnd::NotReady);
    assert!(report.message.contains("/absent is answered with status 404\n"), "{}", report.message);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn whoever_answers_there_already_is_not_taken_for_the_service() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = other.local_addr().unwrap();
    for ready in [Ready::Tcp(place.to_string()), Ready::Http(format!("http://{place}/"))] {
        let report = failed(shell("exec sleep 600", ready)).await;
        assert_eq!(report.end, ServiceEnd::NotStarted);
        let reason = format!("something already answers at {place}: stop it, or choose another port");
        assert_eq!(report.message, format!("service web was not started: {reason}"));
    }
}

#[tokio::test]
async fn what_cannot_be_started_or_watched_is_named() {
    for (ready, reason) in [
        (Ready::Tcp("8080".to_owned()), "8080 is not a host:port"),
        (Ready::Tcp("127.0.0.1:0".to_owned()), "127.0.0.1:0 is not a host:port"),
        (Ready::Log("(".to_owned()), "/(/ is not a regular expression: unclosed group"),
        (
            Ready::Http("ftp://a/".to_owned()),
            "ftp://a/ cannot be asked: it must begin with http:// or https:// and name a host",
        ),
    ] {
        let report = failed(shell("exec sleep 600", ready)).await;
        assert_eq!(report.message, format!("service web was not started: {reason}"));
        assert_eq!(report.end, ServiceEnd::NotStarted);
    }
    let report = failed(spec(&["./no-such-program"], Ready::Started)).await;
    assert_eq!(report.end, ServiceEnd::NotStarted);
    assert!(report.message.starts_with("service web was not started: there is no program"), "{}", report.message);
}

#[tokio::test]
async fn a_cancel_ends_the_waiting_and_the_service() {
    let context = context().await;
    let cancel = context.cancel.clone();
    let live = Arc::new(move |_| cancel.cancel());
    let spec = shell("echo begun; exec sleep 600", Ready::Log("never".to_owned()));
    let failure = start(spec, ServiceContext { live: Some(live), ..context }).await.err().unwrap();
    assert!(failure.cancelled);
    assert_eq!((failure.report.end, failure.report.signal), (ServiceEnd::Stopped, Some(15)));
    assert_eq!(failure.report.message, "service web was stopped before it was ready\n  begun");
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed_after_the_grace_with_its_descendants() {
    let line = "trap '' TERM; sleep 600 & echo child $!; while :; do sleep 1; done";
    let service = start(shell(line, Ready::Log("child".to_owned())), context().await).await.unwrap();
    let report = service.stop(Duration::from_millis(200)).await;
    assert_eq!((report.end, report.signal), (ServiceEnd::Stopped, Some(9)));
    let child: u32 = report.excerpts[0].head.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(!is_there(child));
}

#[tokio::test]
async fn output_beyond_every_buffer_does_not_block_the_service() {
    let line = "head -c 3000000 /dev/zero; echo; echo done; exec sleep 600";
    let service = start(shell(line, Ready::Log("^done$".to_owned())), context().await).await.unwrap();
    let report = service.stop(Duration::from_secs(20)).await;
    assert_eq!(report.outputs[0].bytes, 3_000_006);
}
