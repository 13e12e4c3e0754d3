//! The engine's hold on one command: signals for its tree, and the reports of its keeper.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::protocol::{self, KILL, Report, Spec, TERM};
use crate::steps::launcher::{Exit, LaunchError, ProcessControl, TreeSignal};

/// How the spawner ended, once it has.
pub type SpawnerEnd = watch::Receiver<Option<String>>;

/// How long a keeper's silent end may wait for news of the spawner's end, which explains it better.
const NEWS_PATIENCE: Duration = Duration::from_millis(500);

/// The engine's end of a command's socket. When it is dropped, the keeper kills the tree.
pub struct TreeControl {
    socket: UnixStream,
    spawner_end: SpawnerEnd,
    /// Received, and not yet a whole frame.
    received: Vec<u8>,
    exit: Option<Exit>,
    gone: bool,
    lost: Option<LaunchError>,
}

impl TreeControl {
    /// Control over this socket.
    pub fn new(socket: StdUnixStream, spawner_end: SpawnerEnd) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        Ok(Self { socket, spawner_end, received: vec![], exit: None, gone: false, lost: None })
    }

    /// Says what to run, and waits until it runs: its process id.
    pub async fn begin(&mut self, spec: &Spec) -> Result<u32, LaunchError> {
        let unsayable = |error| LaunchError::Command(format!("the command cannot be passed on: {error}"));
        let frame = protocol::frame(spec).map_err(unsayable)?;
        // If this fails the other end is closed, and the reason is there to be read.
        let _ = self.socket.write_all(&frame).await;
        match self.next_report().await {
            Ok(Some(Report::Started { pid })) => Ok(pid),
            Ok(Some(Report::Refused { resources: true, text })) => Err(LaunchError::Resources(text)),
            Ok(Some(Report::Refused { resources: false, text })) => Err(LaunchError::Command(text)),
            Ok(Some(Report::SpawnerLost | Report::Exited { .. } | Report::Gone)) => {
                Err(LaunchError::SpawnerLost("its keeper spoke out of turn".to_owned()))
            }
            Ok(None) | Err(_) => match self.spawner_news().await {
                Some(end) => Err(LaunchError::SpawnerLost(end)),
                None => Err(LaunchError::Resources("the spawner had no descriptors or memory left for it".to_owned())),
            },
        }
    }

    /// The next report; none at the end. May be dropped and called again.
    async fn next_report(&mut self) -> io::Result<Option<Report>> {
        loop {
            if let Some(report) = protocol::take_frame(&mut self.received)? {
                return Ok(Some(report));
            }
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// How the spawner ended, if it has.
    async fn spawner_news(&mut self) -> Option<String> {
        let news = tokio::time::timeout(NEWS_PATIENCE, self.spawner_end.wait_for(Option::is_some)).await;
        news.ok()?.ok()?.clone()
    }

    /// Takes one more report in.
    async fn advance(&mut self) {
        match self.next_report().await {
            Ok(Some(Report::Exited { code, signal, usage, at })) => {
                let ago = protocol::monotonic().saturating_sub(at);
                self.exit = Some(Exit { code, signal, usage, ago });
            }
            Ok(Some(Report::Gone)) => self.gone = true,
            Ok(Some(Report::SpawnerLost)) => self.lose("it was killed, or closed while commands ran").await,
            Ok(Some(Report::Started { .. } | Report::Refused { .. })) => {}
            Ok(None) | Err(_) => self.lose("the keeper of a command ended before the command").await,
        }
    }

    async fn lose(&mut self, otherwise: &str) {
        let news = self.spawner_news().await.unwrap_or_else(|| otherwise.to_owned());
        self.lost.get_or_insert(LaunchError::SpawnerLost(news));
    }
}

#[async_trait]
impl ProcessControl for TreeControl {
    fn signal(&self, signal: TreeSignal) {
        let byte = match signal {
            TreeSignal::Term => TERM,
            TreeSignal::Kill => KILL,
        };
        // One byte into an all but empty buffer. A closed socket says that nothing is left to be signalled.
        let _ = self.socket.try_write(&[byte]);
    }

    async fn exited(&mut self) -> Result<Exit, LaunchError> {
        loop {
            match (&self.exit, &self.lost) {
                (Some(exit), _) => return Ok(exit.clone()),
                (None, Some(lost)) => return Err(lost.clone()),
                (None, None) => self.advance().await,
            }
        }
    }

    async fn tree_gone(&mut self) -> Result<(), LaunchError> {
        loop {
            match (self.gone, &self.lost) {
                (true, _) => return Ok(()),
                (false, Some(lost)) => return Err(lost.clone()),
                (false, None) => self.advance().await,
            }
        }
    }
}
