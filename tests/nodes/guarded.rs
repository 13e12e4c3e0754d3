//! A replica set of one server that lets nobody in without a user and a password.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use nix::sys::signal::Signal;
use test_servers::{Mongod, REPLICA_SET};

use crate::mongo_history::until;

/// Who may do everything.
const ROOT: &str = "root";
/// How long one answer of the server may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often another port is tried where somebody else took the first.
const STARTS: usize = 5;

/// The server. Dropped, it is killed; so it is when this process dies.
pub struct Guarded {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Guarded {
    /// Starts the server, with `root` as its only user, whose password is given.
    pub async fn start(root: &str) -> Self {
        for _ in 0..STARTS {
            let mut guarded = Self::launch();
            if guarded.listens().await {
                guarded.initiate(root).await;
                return guarded;
            }
        }
        panic!("no server that lets nobody in could be started");
    }

    fn launch() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let mut options = fs::OpenOptions::new();
        std::io::Write::write_all(
            &mut options.write(true).create_new(true).mode(0o600).open(&key).unwrap(),
            b"onlyForThisTestAndForNothingElse",
        )
        .unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(Mongod::binary().unwrap());
        command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--auth"]);
        command.args(["--replSet", REPLICA_SET, "--oplogSize", "64", "--networkMessageCompressors", "disabled"]);
        command.arg("--port").arg(port.to_string()).arg("--keyFile").arg(&key).arg("--dbpath").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: test_servers::spawn(command, Signal::SIGKILL).unwrap(), port, _folder: folder }
    }

    /// Whether it came to listen; false if it ended instead.
    async fn listens(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if self.run(None, "admin", doc! { "hello": 1 }).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// The first user is made without one, from this machine.
    async fn initiate(&self, root: &str) {
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        let set = doc! { "replSetInitiate": { "_id": REPLICA_SET, "members": [member] } };
        self.run(None, "admin", set).await.unwrap();
        until("a primary", || async {
            let hello = self.run(None, "admin", doc! { "hello": 1 }).await.unwrap();
            hello.get_bool("isWritablePrimary").unwrap_or(false)
        })
        .await;
        self.run(None, "admin", doc! { "createUser": ROOT, "pwd": root, "roles": ["root"] }).await.unwrap();
    }

    /// Makes a user with one role on one database.
    pub async fn user(&self, root: &str, name: &str, password: &str, role: &str, database: &str) {
        let roles = [doc! { "role": role, "db": database }];
        let user = doc! { "createUser": name, "pwd": password, "roles": roles };
        self.run(Some(root), "admin", user).await.unwrap();
    }

    /// The address of a database for a user, both percent-encoded.
    pub fn uri(&self, user: &str, password: &str, database: &str) -> String {
        let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let (user, password) = (encode(user), encode(password));
        let place = format!("127.0.0.1:{}", self.port);
        format!("mongodb://{user}:{password}@{place}/{database}?replicaSet={REPLICA_SET}&authSource=admin")
    }

    /// The address of a database for nobody.
    pub fn anonymous(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet={REPLICA_SET}", self.port)
    }

    async fn run(&self, root: Option<&str>, database: &str, command: Document) -> mongodb::error::Result<Document> {
        let credential = |password: &str| {
            Credential::builder().username(ROOT.to_owned()).password(password.to_owned()).source("admin".to_owned())
        };
        let mut options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(self.port) }])
            .direct_connection(true)
            .server_selection_timeout(ANSWER)
            .build();
        options.credential = root.map(|password| credential(password).build());
        let client = Client::with_options(options)?;
        let answer = client.database(database).run_command(command).await;
        client.shutdown().immediate(true).await;
        answer
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
