//! A spawner for unit tests: the test binary itself, started again so that only [`spawner_process`] runs.

use std::process::Command;
use std::sync::Arc;

use super::{Spawner, spawner_main};
use crate::steps::launcher::{LaunchSpec, Launcher};

const MARK: &str = "TESTLEDGER_UNIT_TEST_SPAWNER";

/// A real spawner, for unit tests of any room.
pub(crate) async fn test_spawner() -> Arc<Spawner> {
    let mut command = Command::new("/proc/self/exe");
    // With one test thread the harness runs the test on the main thread and starts no other.
    command.args(["--exact", "steps::spawner::tests::spawner_process", "--nocapture", "--test-threads=1"]);
    command.env(MARK, "1");
    Spawner::start_command(command).await.unwrap()
}

/// No test: what [`test_spawner`] starts.
#[test]
fn spawner_process() {
    if std::env::var_os(MARK).is_some() {
        let code = spawner_main();
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

#[tokio::test]
async fn the_spawner_of_unit_tests_starts_commands() {
    let spawner = test_spawner().await;
    let argv = ["sh", "-c", "exit 7"].map(str::to_owned).to_vec();
    let spec = LaunchSpec { argv, env: vec![], directory: "/".into() };
    let mut process = spawner.launch(spec).await.unwrap();
    assert_eq!(process.control.exited().await.unwrap().code, Some(7));
    spawner.close().await;
}
