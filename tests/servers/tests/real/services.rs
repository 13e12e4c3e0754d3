//! `test-servers up` and `down`: one server for each folder, ended exactly once.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{collection, lives, port_of, with_arguments, write_and_count};

fn run(what: &str, folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-servers"));
    command.args([what, "--folder"]).arg(folder).output().unwrap()
}

#[track_caller]
fn up(folder: &Path) -> String {
    let output = run("up", folder);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ends the server of a folder, also where a test fails.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        run("down", self.0.path());
    }
}

fn servers_of(uri: &str) -> Vec<u32> {
    with_arguments(&["--port", &port_of(uri)])
}

#[tokio::test]
async fn up_is_the_same_server_until_down() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let folder = folder.0.path();
    let uri = up(folder);
    assert!(uri.ends_with("/testledger?replicaSet=rs0"), "{uri}");
    assert_eq!(write_and_count(&collection(&uri).await).await, 1);
    let [server] = servers_of(&uri)[..] else { panic!("not one server: {uri}") };
    assert_eq!(up(folder), uri, "it is up");
    assert_eq!(servers_of(&uri), [server]);

    assert!(run("down", folder).status.success());
    assert!(!lives(server));
    let again = run("down", folder);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("no server"), "{again:?}");

    assert_eq!(up(folder), uri, "port and data are kept");
    assert_eq!(write_and_count(&collection(&uri).await).await, 2);
}

#[test]
fn down_ends_no_other_process() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let folder = folder.0.path();
    let uri = up(folder);
    let [server] = servers_of(&uri)[..] else { panic!("not one server: {uri}") };
    let kept = folder.join("services.json");
    let right = fs::read_to_string(&kept).unwrap();

    // Another process has the server's id by now, as its start time shows.
    let (before, start) = right.split_once("\"start_time\":").unwrap();
    fs::write(&kept, format!("{before}\"start_time\":1{start}")).unwrap();
    assert!(run("down", folder).status.success());
    assert!(lives(server), "it is not the one that was started");

    // A process with the right start time that is no server.
    let own = std::process::id();
    let stat = fs::read_to_string(format!("/proc/{own}/stat")).unwrap();
    let own_start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let port = port_of(&uri);
    fs::write(&kept, format!("{{\"port\":{port},\"process\":{{\"pid\":{own},\"start_time\":{own_start}}}}}")).unwrap();
    assert!(run("down", folder).status.success());

    fs::write(&kept, right).unwrap();
    assert!(run("down", folder).status.success());
    assert!(!lives(server));
}
