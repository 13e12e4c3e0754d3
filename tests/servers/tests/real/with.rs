//! `test-servers with`: exit codes, signals, and nothing left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_servers::VARIABLE;

use crate::support::{lives, port_of, until, with_arguments};

/// `with` around a line for the shell.
fn with(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-servers"));
    command.args(["with", "--", "sh", "-c", line]).env_remove(VARIABLE).stdout(Stdio::piped());
    command
}

/// `with` around a command that stays, its server, and the command.
struct Staying {
    with: Child,
    server: u32,
    command: u32,
}

impl Staying {
    fn start() -> Self {
        let mut with = with(&format!("echo $$ ${VARIABLE}; exec sleep 600")).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(with.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (command, uri) = line.trim().split_once(' ').unwrap();
        let servers = with_arguments(&["--port", &port_of(uri)]);
        assert_eq!(servers.len(), 1, "{line}");
        Self { with, server: servers[0], command: command.parse().unwrap() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.with.id()).unwrap()), signal).unwrap();
    }
}

#[test]
fn exit_codes_are_passed_on() {
    for (line, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("exec /nowhere/program 2>&-", 127)] {
        let output = with(line).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-servers"));
    let output = command.args(["with", "--", "/nowhere/program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/program"), "{output:?}");
}

#[test]
fn no_server_is_left_when_the_command_has_ended() {
    let output = with(&format!("echo ${VARIABLE}")).output().unwrap();
    let uri = String::from_utf8(output.stdout).unwrap();
    assert!(with_arguments(&["--port", &port_of(uri.trim())]).is_empty(), "{uri}");
}

#[test]
fn signals_are_passed_on_and_the_server_is_ended() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut staying = Staying::start();
        staying.signal(signal);
        assert_eq!(staying.with.wait().unwrap().code(), Some(code));
        assert!(!lives(staying.server) && !lives(staying.command), "after {signal}");
    }
}

#[test]
fn nothing_outlives_a_with_that_is_killed() {
    let mut staying = Staying::start();
    assert!(lives(staying.server) && lives(staying.command));
    staying.signal(Signal::SIGKILL);
    staying.with.wait().unwrap();
    until("the end of the server and of the command", || !lives(staying.server) && !lives(staying.command));
}
