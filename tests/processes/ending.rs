//! The end of process trees: by signal, by timeout, by leak, and by the death of engine, spawner or keeper.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testledger::steps::command::run;
use testledger::steps::launcher::{LaunchError, Launcher, TreeSignal};
use testledger_schemas::StepOutcome;
use testledger_schemas::event::ErrorKind;

use crate::support::{PATIENCE, alive, await_death, context, launch, prepared, read_pids, shell, spawner};

/// A tree with a child in another session, and one that was orphaned by a double fork in another session.
/// Prints the three process ids.
const TREE: &str = "setsid sleep 1000 & \
                    (setsid sh -c 'sleep 1000 & echo $! > orphan; wait' & ) ; \
                    while [ ! -s orphan ]; do sleep 0.01; done; \
                    echo $! $(cat orphan) $$; ";

/// The same, deaf for SIGTERM.
const DEAF: &str = "trap '' TERM; ";

fn in_folder(line: &str) -> (tempfile::TempDir, testledger::steps::launcher::LaunchSpec) {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell(line);
    spec.directory = folder.path().to_owned();
    (folder, spec)
}

#[tokio::test]
async fn term_reaches_every_descendant_in_whatever_session() {
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let pids = read_pids(&mut process, 3).await;
    assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    process.control.signal(TreeSignal::Term);
    assert_eq!(process.control.exited().await.unwrap().signal, Some(15));
    process.control.tree_gone().await.unwrap();
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree_by_term_or_at_last_by_kill() {
    let spawner = spawner().await;
    for (line, signals) in [(format!("{TREE} wait"), &["TERM"][..]), (format!("{DEAF} {TREE} wait"), &["TERM", "KILL"])]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut step = prepared(&line);
        step.directory = folder.path().to_owned();
        let mut context = context(spawner.clone());
        context.timeout = Some(Duration::from_millis(700));
        context.grace = Duration::from_millis(if signals.len() == 1 { 20_000 } else { 200 });
        let end = run(&step, &context).await;
        let error = end.error.unwrap();
        assert_eq!((end.outcome, error.kind), (StepOutcome::Timeout, ErrorKind::Timeout), "{}", error.message);
        assert_eq!(
            (end.signals_sent.iter().map(String::as_str).collect::<Vec<_>>(), end.leaked),
            (signals.to_vec(), false)
        );
        let pids: Vec<u32> = end.excerpts[0].head.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 3);
        assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
    }
}

#[tokio::test]
async fn a_cancel_stops_a_step() {
    let context = context(spawner().await);
    let cancel = context.cancel.clone();
    let step = prepared("sleep 1000");
    let (end, ()) = tokio::join!(run(&step, &context), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    assert_eq!((end.outcome, end.error, end.signals_sent), (StepOutcome::Cancelled, None, vec!["TERM".to_owned()]));
    assert_eq!(run(&step, &context).await.outcome, StepOutcome::Cancelled, "nothing is started after a cancel");
}

#[tokio::test]
async fn a_descendant_that_ends_in_time_is_no_leak_and_one_that_does_not_is() {
    let mut context = context(spawner().await);
    context.leak_timeout = Duration::from_secs(20);
    let end = run(&prepared("(sleep 0.2; echo late) & echo early"), &context).await;
    assert_eq!((end.leaked, end.signals_sent.len(), end.excerpts[0].head.as_str()), (false, 0, "early\nlate\n"));
    context.leak_timeout = Duration::from_millis(200);
    for line in ["sleep 1000 & echo $!", "setsid sleep 1000 > /dev/null 2>&1 & echo $!"] {
        let end = run(&prepared(line), &context).await;
        assert_eq!((end.outcome, end.leaked), (StepOutcome::Passed, true), "{line}");
        assert_eq!(end.signals_sent, ["TERM"]);
        assert!(!alive(end.excerpts[0].head.trim().parse().unwrap()));
    }
}

#[tokio::test]
async fn a_dropped_process_is_killed_with_its_tree() {
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{DEAF} {TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let pids = read_pids(&mut process, 3).await;
    drop(process);
    await_death(&pids);
}

#[tokio::test]
async fn a_closed_spawner_leaves_nothing() {
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{DEAF} {TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let pids = read_pids(&mut process, 3).await;
    spawner.close().await;
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
    assert!(matches!(spawner.launch(shell("true")).await, Err(LaunchError::SpawnerLost(_))));
}

/// A process that does nothing but fork and end, so that it has a new number all the time.
#[tokio::test]
async fn one_that_forks_away_from_its_killer_is_caught() {
    let spawner = spawner().await;
    let script = "import os, sys
print(os.getpid(), flush=True)
os.setsid() if os.getpid() != os.getpgid(0) else None
while True:
    if os.fork():
        os._exit(0)";
    let mut process = launch(&spawner, crate::support::spec(&["python3", "-c", script])).await;
    process.control.exited().await.unwrap();
    process.control.signal(TreeSignal::Kill);
    tokio::time::timeout(PATIENCE, process.control.tree_gone()).await.unwrap().unwrap();
}

#[tokio::test]
async fn when_the_spawner_is_killed_nothing_is_left_and_the_engine_knows() {
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{DEAF} {TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let pids = read_pids(&mut process, 3).await;
    kill(Pid::from_raw(spawner_of(process.pid)), Signal::SIGKILL).unwrap();
    match process.control.exited().await {
        Err(LaunchError::SpawnerLost(text)) => assert!(text.contains('9'), "{text}"),
        other => panic!("{other:?}"),
    }
    await_death(&pids);
    assert!(matches!(spawner.launch(shell("true")).await, Err(LaunchError::SpawnerLost(_))));
    let end = run(&prepared("true"), &context(spawner)).await;
    assert_eq!((end.outcome, end.error.unwrap().kind), (StepOutcome::Error, ErrorKind::Infrastructure));
}

#[tokio::test]
async fn when_a_keeper_is_killed_its_tree_is_and_others_live() {
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{DEAF} {TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let mut other = launch(&spawner, shell("sleep 1; exit 5")).await;
    let pids = read_pids(&mut process, 3).await;
    kill(Pid::from_raw(parent_of(process.pid)), Signal::SIGKILL).unwrap();
    assert!(matches!(process.control.exited().await, Err(LaunchError::SpawnerLost(_))));
    await_death(&pids);
    assert_eq!(other.control.exited().await.unwrap().code, Some(5));
}

fn parent_of(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn spawner_of(pid: u32) -> i32 {
    parent_of(u32::try_from(parent_of(pid)).unwrap())
}

const HELPER: &str = "TESTLEDGER_HELPER_ENGINE";

/// No test: an engine in a process of its own, that [`when_the_engine_is_killed_nothing_is_left`] kills.
#[tokio::test]
async fn helper_engine() {
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let spawner = spawner().await;
    let (_folder, spec) = in_folder(&format!("{DEAF} {TREE} wait"));
    let mut process = launch(&spawner, spec).await;
    let pids = read_pids(&mut process, 3).await;
    println!("PIDS {} {} {} {}", pids[0], pids[1], pids[2], spawner_of(process.pid));
    std::future::pending::<()>().await;
}

#[test]
fn when_the_engine_is_killed_nothing_is_left() {
    use std::io::{BufRead, BufReader};
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ending::helper_engine", "--nocapture"])
        .env(HELPER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(engine.stdout.take().unwrap()).lines();
    // The harness prints on the same line before it.
    let found = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("PIDS ")?.1.to_owned())).unwrap();
    let pids: Vec<u32> = found.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 4 && pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    engine.kill().unwrap();
    engine.wait().unwrap();
    await_death(&pids);
}
