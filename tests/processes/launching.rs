//! Starting commands: their environment, their errors, their cost.

use std::os::fd::AsFd;
use std::time::Instant;

use futures::future::join_all;
use testledger::steps::launcher::{LaunchError, Launcher};

use crate::support::{launch, shell, spawner, spec, stdout};

#[tokio::test]
async fn a_command_runs_and_its_end_is_told() {
    let spawner = spawner().await;
    let mut process = launch(&spawner, shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!(stdout(&mut process).await, "out\n");
    let exit = process.control.exited().await.unwrap();
    assert_eq!((exit.code, exit.signal), (Some(7), None));
    process.control.tree_gone().await.unwrap();
    assert_eq!(process.control.exited().await.unwrap(), exit, "asked again");
    spawner.close().await;
}

#[tokio::test]
async fn a_signal_is_told_as_a_signal() {
    let spawner = spawner().await;
    // 42 is a real-time signal: it has a number only.
    for signal in [6, 9, 11, 42] {
        let mut process = launch(&spawner, shell(&format!("kill -{signal} $$"))).await;
        let exit = process.control.exited().await.unwrap();
        assert_eq!((exit.code, exit.signal), (None, Some(signal)));
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_asked_for() {
    let spawner = spawner().await;
    let mut asked = spec(&["env", "-0"]);
    asked.env.extend([("MULTI\u{e9}".to_owned(), "a\nb=c".to_owned()), ("EMPTY".to_owned(), String::new())]);
    let mut expected: Vec<_> = asked.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut process = launch(&spawner, asked).await;
    let text = stdout(&mut process).await;
    let mut seen: Vec<_> = text.split_terminator('\0').map(str::to_owned).collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn nothing_of_the_engine_is_inherited() {
    let spawner = spawner().await;
    let script = "import os, signal, sys
fds = sorted(int(f) for f in os.listdir('/proc/self/fd'))
ignored = [s for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]
status = dict(l.split(':', 1) for l in open('/proc/self/status'))
print(fds[:3], len(fds), status['SigBlk'].strip(), [s for s in ignored if s not in (signal.SIGPIPE, signal.SIGXFSZ)])
print(os.getpgid(0) == os.getpid(), os.getsid(0))
print(repr(sys.stdin.read()))";
    let mut process = launch(&spawner, spec(&["python3", "-c", script])).await;
    let text = stdout(&mut process).await;
    let lines: Vec<_> = text.lines().collect();
    // The fourth descriptor is that of the listing. (Python itself ignores SIGPIPE and SIGXFSZ.)
    assert_eq!(lines[0], "[0, 1, 2] 4 0000000000000000 []");
    let (leader, session) = lines[1].split_once(' ').unwrap();
    assert_eq!((leader, lines[2]), ("True", "''"), "leader of its group; end of the standard input");
    let ours = nix::unistd::getsid(None).unwrap().to_string();
    assert_ne!(session, ours, "Ctrl-C in the engine's terminal must not reach it");
}

#[tokio::test]
async fn a_lock_is_held_until_nothing_is_left() {
    let spawner = spawner().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lock");
    let ours = std::fs::File::create(&file).unwrap();
    ours.lock().unwrap();
    spawner.hold(ours.as_fd().try_clone_to_owned().unwrap()).await.unwrap();
    drop(ours);
    let process = launch(&spawner, shell("trap '' TERM; sleep 1000 & wait")).await;
    let other = std::fs::File::open(&file).unwrap();
    assert!(other.try_lock().is_err(), "the spawner shares it");
    assert!(
        !std::fs::read_dir(format!("/proc/{}/fd", process.pid))
            .unwrap()
            .flatten()
            .any(|descriptor| { std::fs::read_link(descriptor.path()).is_ok_and(|target| target == file) })
    );
    spawner.close().await;
    other.try_lock().unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_said_with_the_mend() {
    let spawner = spawner().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain"), "echo hello").unwrap();
    let bad = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    bad("no-loader", "#!/no/such/interpreter\n");
    bad("no-format", "echo hello\n");
    let cases: &[(&[&str], &str)] = &[
        (&[], "name a program"),
        (&["no-such-program-here"], "there is no program `no-such-program-here` in PATH"),
        (&["./no-such-file"], "there is no program"),
        (&["./plain"], "make it executable"),
        (&["plain"], "make it executable"),
        (&["."], "there is no program `.` in PATH"),
        (&["./"], "is a directory"),
        (&["./no-loader"], "interpreter"),
        (&["./no-format"], "#!/bin/sh"),
        (&["echo", "a\0b"], "NUL"),
    ];
    for (argv, expected) in cases {
        let mut asked = spec(argv);
        asked.directory = folder.path().to_owned();
        asked.env = vec![("PATH".to_owned(), format!("{}:/usr/bin:/bin", folder.path().display()))];
        match spawner.launch(asked).await {
            Err(LaunchError::Command(text)) => assert!(text.contains(expected), "{argv:?}: {text}"),
            Err(other) => panic!("{argv:?}: {other}"),
            Ok(_) => panic!("{argv:?} was started"),
        }
    }
    let mut nowhere = spec(&["true"]);
    nowhere.directory = folder.path().join("nowhere");
    assert!(
        matches!(spawner.launch(nowhere).await, Err(LaunchError::Command(text)) if text.contains("does not exist"))
    );
    let huge = "x".repeat(3 << 20);
    assert!(
        matches!(spawner.launch(spec(&["echo", &huge])).await, Err(LaunchError::Command(text)) if text.contains("too long"))
    );
}

#[tokio::test]
async fn a_long_command_line_gets_through() {
    let spawner = spawner().await;
    let argument = "\u{1}\"".repeat(60_000); // the longest single argument is 128 KiB; this is the worst for JSON
    let mut argv = vec!["sh", "-c", "printf %s \"$*\" | wc -c", "sh"];
    argv.extend([argument.as_str(); 10]);
    let mut process = launch(&spawner, spec(&argv)).await;
    assert_eq!(stdout(&mut process).await.trim(), (120_000 * 10 + 9).to_string());
}

/// Not a test of time: it prints what a start costs, and asserts that a hundred at once all run.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once() {
    let spawner = spawner().await;
    let began = Instant::now();
    for _ in 0..100 {
        launch(&spawner, spec(&["true"])).await.control.tree_gone().await.unwrap();
    }
    println!("one at a time, started and gone: {:?} each", began.elapsed() / 100);
    let began = Instant::now();
    let started = join_all((0..100).map(|_| async {
        let process = launch(&spawner, spec(&["sleep", "0.5"])).await;
        (began.elapsed(), process)
    }))
    .await;
    let mut latencies: Vec<_> = started.iter().map(|(latency, _)| *latency).collect();
    latencies.sort();
    println!("100 at once: started after p50 {:?}, last {:?}", latencies[50], latencies[99]);
    for (_, mut process) in started {
        assert_eq!(process.control.exited().await.unwrap().code, Some(0));
    }
    spawner.close().await;
}

/// How many descriptors this process has open.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

const QUIET: &str = "TESTLEDGER_QUIET_HELPER";

/// No test by itself: [`descriptors_do_not_leak`] and [`the_peak_of_memory_is_the_commands_own`] run it alone in a
/// process, for they count what belongs to the whole process.
#[tokio::test]
async fn helper_alone() {
    match std::env::var(QUIET).as_deref() {
        Ok("descriptors") => {
            let spawner = spawner().await;
            let mut counts = vec![];
            for round in 0..200 {
                let mut process = launch(&spawner, spec(&["true"])).await;
                process.control.tree_gone().await.unwrap();
                drop(process);
                assert!(spawner.launch(spec(&["no-such-program"])).await.is_err());
                if round % 50 == 49 {
                    counts.push(open_descriptors());
                }
            }
            assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
            assert_eq!(children_of_spawner(), 0);
        }
        Ok("memory") => {
            let fat = vec![1_u8; 200 << 20];
            let spawner = spawner().await;
            let mut process = launch(&spawner, spec(&["true"])).await;
            let small = process.control.exited().await.unwrap().usage.peak_memory_bytes;
            assert!(small > 0 && small < 40 << 20, "{small} bytes for `true`");
            let mut process = launch(&spawner, spec(&["python3", "-c", "x = b'x' * (100 << 20)"])).await;
            let large = process.control.exited().await.unwrap().usage.peak_memory_bytes;
            assert!(large > 100 << 20 && large < 160 << 20, "{large} bytes");
            println!("peak of `true`: {} KiB; engine has {} MiB", small / 1024, fat.len() >> 20);
        }
        Ok(_) | Err(_) => {}
    }
}

/// Zombies and left keepers below this process's spawner.
fn children_of_spawner() -> usize {
    let children = |pid: &str| -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap());
        lists.flat_map(|list| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    // The last keeper says that its tree is gone just before it ends.
    let began = Instant::now();
    loop {
        let left: usize = children("self").iter().map(|spawner| children(spawner).len()).sum();
        if left == 0 || began.elapsed() > crate::support::PATIENCE {
            return left;
        }
        std::thread::yield_now();
    }
}

fn alone(what: &str) {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "launching::helper_alone", "--nocapture"])
        .env(QUIET, what)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn descriptors_do_not_leak() {
    alone("descriptors");
}

#[test]
fn the_peak_of_memory_is_the_commands_own() {
    alone("memory");
}
