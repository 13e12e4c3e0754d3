//! The server of a developer: one that stays until it is told to go, with its data in a folder.

mod process;
mod state;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::deadline::Deadline;
use crate::error::{Error, Result, io};
use crate::mongod::Mongod;
use crate::node::{NodeOptions, PORT_TAKEN, PORT_TRIES, START_PATIENCE};
use crate::replica_set::{REPLICA_SET, initiate, wait_for_alone};
use crate::{bounded, port};

use process::Process;
use state::State;

/// How long another `up` or `down` is waited for.
const TURN_PATIENCE: Duration = Duration::from_secs(120);
/// How long the server may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// The database in the address that is printed.
const DATABASE: &str = "testledger";

/// Where the server listens.
fn place(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A server in a folder, which may run or not.
pub struct Services {
    folder: PathBuf,
    /// Locked: one `up` or `down` at a time.
    _turn: File,
}

impl Services {
    /// The server in this folder, which is created if it does not exist. Waits for others that are at it.
    ///
    /// # Errors
    /// The folder cannot be written, or others take too long.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(io(format!("create the folder {}", folder.display())))?;
        let folder = folder.canonicalize().map_err(io(format!("find the folder {}", folder.display())))?;
        let turn = File::create(folder.join("lock")).map_err(io("create the lock of the services"))?;
        let deadline = Deadline::after(TURN_PATIENCE);
        while turn.try_lock().is_err() {
            deadline.pause_blocking("another `up` or `down` is at it")?;
        }
        Ok(Self { folder, _turn: turn })
    }

    /// Starts the server, a replica set of one, unless it runs; waits until it takes writes. Gives its address. It stays
    /// when this process ends, and has the same port and data every time.
    ///
    /// # Errors
    /// There is no `mongod`, it does not start, or its port was taken by another program meanwhile.
    pub async fn up(&self) -> Result<String> {
        let mut state = State::read(&self.folder)?;
        if self.running(&state).is_none() {
            state = self.begin(&state)?;
            state.write(&self.folder)?;
        }
        let port = state.port.ok_or_else(|| Error::Refused("a server without a port".to_owned()))?;
        initiate(&[place(port)], true).await?;
        wait_for_alone(place(port), START_PATIENCE).await?;
        Ok(format!("mongodb://127.0.0.1:{port}/{DATABASE}?replicaSet={REPLICA_SET}"))
    }

    /// Ends the server in order, and by SIGKILL if that takes too long. The data stay. Says whether it ran: exactly the
    /// process that was started is ended, known by its id, its start time, its program's folder of data.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn down(&self) -> Result<bool> {
        let state = State::read(&self.folder)?;
        let Some(process) = self.running(&state) else { return Ok(false) };
        process.signal(Signal::SIGTERM)?;
        if process.wait(END_PATIENCE).is_err() {
            process.signal(Signal::SIGKILL)?;
            process.wait(END_PATIENCE)?;
        }
        State { process: None, ..state }.write(&self.folder)?;
        Ok(true)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process of this state, if it is still the one that was started.
    fn running(&self, state: &State) -> Option<Process> {
        state.process.filter(|process| process.is_server_of(&self.data()))
    }

    /// Starts the server on its port, or on a free one if it never had any.
    fn begin(&self, state: &State) -> Result<State> {
        fs::create_dir_all(self.data()).map_err(io("create the folder of the server"))?;
        let Some(port) = state.port else { return self.begin_on_a_free_port() };
        match self.begin_on(port) {
            Err(Error::PortTaken(port)) => Err(Error::Refused(format!(
                "port {port}, which the server in {shown} has, is taken by another program: end that, or remove {shown} \
                 with all its data",
                shown = self.folder.display()
            ))),
            other => other,
        }
    }

    fn begin_on_a_free_port(&self) -> Result<State> {
        for _ in 0..PORT_TRIES {
            match self.begin_on(port::free()?) {
                Err(Error::PortTaken(_)) => {}
                other => return other,
            }
        }
        Err(Error::Refused(format!("{PORT_TRIES} ports were free, and taken a moment later")))
    }

    /// Starts a server that detaches itself, once it listens.
    fn begin_on(&self, port: u16) -> Result<State> {
        let binary = Mongod::binary()?;
        let words = self.folder.join("output.txt");
        let output = File::create(&words).map_err(io("create a file for the server's output"))?;
        let mut command = Command::new(&binary);
        command.arg("--fork").args(NodeOptions::member().arguments(place(port))).arg("--dbpath").arg(self.data());
        command.arg("--logpath").arg(self.folder.join("mongod.log")).arg("--pidfilepath").arg(self.pid_file());
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        let status = bounded::status(command, START_PATIENCE)?;
        if status.code() == Some(PORT_TAKEN) {
            return Err(Error::PortTaken(port));
        }
        if !status.success() {
            let words = fs::read_to_string(&words).unwrap_or_default();
            return Err(Error::Ended { binary, status: status.to_string(), port, words });
        }
        Ok(State { port: Some(port), process: Some(self.started()?) })
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("mongod.pid")
    }

    fn started(&self) -> Result<Process> {
        let text = fs::read_to_string(self.pid_file()).map_err(io("read the process id of the server"))?;
        let process = text.trim().parse().ok().and_then(Process::of);
        process.ok_or_else(|| Error::Refused("the server was there, and is gone".to_owned()))
    }
}
