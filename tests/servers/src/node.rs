//! One MongoDB server: a process, its folder, its port.

mod log;
mod options;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::deadline::Deadline;
use crate::error::{Error, Result, io};
use crate::folder::Folder;
use crate::mongod::Mongod;
use crate::network::Cable;
use crate::{guard, port};

use log::Log;
pub use options::NodeOptions;
pub(crate) use options::PORT_TAKEN;

/// How long a server may take until it listens (half a second is usual).
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(60);
/// How many ports are tried where others take them first, and how often a port is waited for at a restart.
pub(crate) const PORT_TRIES: u32 = 10;

/// One `mongod` on 127.0.0.1. Dropped, it is killed; so it is when this process dies, even by SIGKILL.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    port: u16,
    files: PathBuf,
    cable: Option<Cable>,
    binary: PathBuf,
    options: NodeOptions,
    /// Held for the data: removed with the last node in it.
    folder: Arc<Folder>,
}

impl Node {
    /// Starts a server with a new, empty folder on a free port, and waits until it listens.
    ///
    /// # Errors
    /// There is no `mongod`, or it does not start; its last words are in the error.
    pub async fn start(options: NodeOptions) -> Result<Self> {
        Self::start_in(Arc::new(Folder::new()?), "node", options, None).await
    }

    /// The same in a folder that is shared with other nodes.
    pub(crate) async fn start_in(
        folder: Arc<Folder>,
        name: &str,
        options: NodeOptions,
        cable: Option<Cable>,
    ) -> Result<Self> {
        let binary = tokio::task::spawn_blocking(Mongod::binary).await;
        let binary = binary.map_err(|error| io("look for mongod")(error.into()))??;
        let files = folder.path().join(name);
        fs::create_dir_all(files.join("data")).map_err(io("create the folder of a server"))?;
        let mut node = Self { child: None, port: 0, files, cable, binary, options, folder };
        for _ in 0..PORT_TRIES {
            node.port = port::free()?;
            match node.begin().await {
                Err(Error::PortTaken(_)) => {}
                other => return other.map(|()| node),
            }
        }
        Err(Error::PortTaken(node.port))
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens: on 127.0.0.1, or at the end of its cable.
    pub(crate) fn place(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.cable.as_ref().map_or(Ipv4Addr::LOCALHOST, Cable::host), self.port)
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The server's log, in JSON lines. It goes with the server.
    pub fn log_file(&self) -> PathBuf {
        self.files.join("mongod.log")
    }

    /// The address of a database on this server alone, whatever else its replica set has.
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}?directConnection=true", self.place())
    }

    /// Ends the process at once (SIGKILL) and reaps it. Nothing happens if it has ended already. Data and port are kept.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // It fails only for a process that has ended.
        let _ = child.kill();
        child.wait().map(drop).map_err(io("wait for a killed server"))
    }

    /// Stops the process where it stands (SIGSTOP): it holds its connections and answers nothing.
    ///
    /// # Errors
    /// There is no process.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// There is no process.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Pulls the server's cable.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn cut_off(&self) -> Result<()> {
        self.cable()?.pull()
    }

    /// Puts the server's cable in again.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn reconnect(&self) -> Result<()> {
        self.cable()?.put_in()
    }

    fn cable(&self) -> Result<&Cable> {
        let no_cable = || Error::Refused(format!("the server on port {} is in no network of its own", self.port));
        self.cable.as_ref().ok_or_else(no_cable)
    }

    /// Starts the server again with its data, on its port; kills it first if it runs. Waits until it listens.
    ///
    /// # Errors
    /// It does not start again, or somebody else has taken its port.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let deadline = Deadline::after(START_PATIENCE);
        for _ in 0..PORT_TRIES {
            match self.begin().await {
                // Who looks for a free port holds it for a moment.
                Err(Error::PortTaken(_)) => deadline.pause("the port of a server that starts again").await?,
                other => return other,
            }
        }
        Err(Error::PortTaken(self.port))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| Error::Refused(format!("the server on port {} was killed", self.port)))?;
        kill(Pid::from_raw(pid), signal).map_err(|errno| io(format!("send {signal} to a server"))(errno.into()))
    }

    /// One start, on the port that is set.
    async fn begin(&mut self) -> Result<()> {
        let log = Log::from_now_on(self.log_file());
        let command = self.command()?;
        let child = guard::spawn(command, Signal::SIGKILL);
        let child = self.child.insert(child.map_err(io(format!("start {}", self.binary.display())))?);
        let deadline = Deadline::after(START_PATIENCE);
        while !log.says_listening() {
            if let Some(status) = child.try_wait().map_err(io("look after a server"))? {
                self.child = None;
                return Err(self.ended(status, &log));
            }
            deadline.pause("a server that listens").await?;
        }
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let output = File::create(self.files.join("output.txt")).map_err(io("create a file for a server's output"))?;
        let errors = output.try_clone().map_err(io("share the file for a server's output"))?;
        let mut command = Command::new(&self.binary);
        command.args(self.options.arguments(self.place())).arg("--dbpath").arg(self.files.join("data"));
        command.arg("--logpath").arg(self.log_file()).current_dir(&self.files);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // Ctrl-C is for the tests: they end their servers themselves, after what still needs them.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if let Some(cable) = &self.cable {
            cable.attach(&mut command);
        }
        Ok(command)
    }

    fn ended(&self, status: std::process::ExitStatus, log: &Log) -> Error {
        if status.code() == Some(PORT_TAKEN) {
            return Error::PortTaken(self.port);
        }
        let output = fs::read_to_string(self.files.join("output.txt")).unwrap_or_default();
        let words = format!("{}{output}", log.last_lines());
        Error::Ended { binary: self.binary.clone(), status: status.to_string(), port: self.port, words }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the server on port {}, in {}: {error}", self.port, self.folder.path().display());
        }
    }
}
