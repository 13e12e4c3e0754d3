//! Standard output and standard error of a command, read side by side.
//!
//! Where the plan captures a secret from the standard output, both streams are held back until the secret is known:
//! nothing of them is shown live, and nothing is recorded before.

use std::time::Duration;

use testledger_schemas::event::OutputStream;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::event_store::StoreError;
use crate::steps::context::LiveOutput;
use crate::steps::output::{Recorded, Recorder, StreamSink};
use crate::steps::redact::Redactor;
use crate::steps::{PreparedRun, StepContext};

/// How much is read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How much is read at once until so much came: most commands print little, and a large buffer for each costs more than
/// all else that is done for them here (fresh pages of memory).
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Both streams of a command.
pub struct Streams {
    stdout: Reading,
    stderr: Reading,
}

impl Streams {
    /// Begins to read.
    pub fn begin(
        stdout: Box<dyn AsyncRead + Send + Unpin>,
        stderr: Box<dyn AsyncRead + Send + Unpin>,
        run: &PreparedRun,
        context: &StepContext,
    ) -> Self {
        let held = run.capture.values().any(|capture| capture.secret);
        let keeper = |stream, wants_raw| match held {
            true => Keeper::Held(Held { bytes: vec![], received: 0, cap: context.output.kept_bytes }),
            false => Keeper::Recorder(Box::new(recorder(context, stream, &context.redactor, true, wants_raw))),
        };
        let wants_stdout = !run.capture.is_empty() || run.expect.stdout != Default::default();
        let wants_stderr = run.expect.stderr != Default::default();
        Self {
            stdout: Reading::begin(stdout, keeper(OutputStream::Stdout, wants_stdout)),
            stderr: Reading::begin(stderr, keeper(OutputStream::Stderr, wants_stderr)),
        }
    }

    /// Waits until both have ended. May be dropped and called again.
    pub async fn ended(&mut self) {
        self.stdout.ended().await;
        self.stderr.ended().await;
    }

    /// Gives them some more time to end, then stops reading. Whether they ended by themselves.
    pub async fn end_within(&mut self, patience: Duration) -> bool {
        if tokio::time::timeout(patience, self.ended()).await.is_ok() {
            return true;
        }
        self.stdout.stop.cancel();
        self.stderr.stop.cancel();
        self.ended().await;
        false
    }

    /// What was read: standard output, standard error. None where a reader was lost (it panicked).
    pub fn into_read(self) -> Option<(Keeper, Keeper)> {
        Some((self.stdout.keeper?, self.stderr.keeper?))
    }
}

/// One stream that is being read by a task of its own.
struct Reading {
    task: AbortOnDropHandle<Keeper>,
    stop: CancellationToken,
    done: bool,
    keeper: Option<Keeper>,
}

impl Reading {
    fn begin(source: Box<dyn AsyncRead + Send + Unpin>, keeper: Keeper) -> Self {
        let stop = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(read(source, keeper, stop.clone())));
        Self { task, stop, done: false, keeper: None }
    }

    async fn ended(&mut self) {
        if !self.done {
            self.keeper = (&mut self.task).await.ok();
            self.done = true;
        }
    }
}

/// Reads until the end, an error (then there is nothing more to be had), or being stopped.
async fn read(mut source: Box<dyn AsyncRead + Send + Unpin>, mut keeper: Keeper, stop: CancellationToken) -> Keeper {
    let mut buffer = vec![0; FIRST_READ_BYTES];
    loop {
        let count = tokio::select! {
            biased;
            () = stop.cancelled() => 0,
            read = source.read(&mut buffer) => read.unwrap_or(0),
        };
        if count == 0 {
            return keeper;
        }
        keeper.push(&buffer[..count]);
        if count == buffer.len() && count < READ_BYTES {
            buffer.resize(READ_BYTES, 0);
        }
    }
}

/// What becomes of the bytes of a stream.
pub enum Keeper {
    /// They are recorded as they come.
    Recorder(Box<Recorder>),
    /// They wait until the secrets in them are known.
    Held(Held),
}

/// Bytes that are held back, up to the cap.
pub struct Held {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// How many came in.
    pub received: u64,
    cap: usize,
}

impl Keeper {
    fn push(&mut self, raw: &[u8]) {
        match self {
            Self::Recorder(recorder) => recorder.push(raw),
            Self::Held(held) => {
                held.received += raw.len() as u64;
                let room = held.cap.saturating_sub(held.bytes.len());
                held.bytes.extend_from_slice(&raw[..raw.len().min(room)]);
            }
        }
    }
}

impl Held {
    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        self.received == self.bytes.len() as u64
    }

    /// Records what was held back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(
        self,
        context: &StepContext,
        stream: OutputStream,
        redactor: &Redactor,
    ) -> Result<Recorded, StoreError> {
        let mut recorder = recorder(context, stream, redactor, false, true);
        recorder.push(&self.bytes);
        recorder.finish(&context.log).await
    }
}

fn recorder(context: &StepContext, stream: OutputStream, redactor: &Redactor, live: bool, wants_raw: bool) -> Recorder {
    let live = context.live.clone().filter(|_| live).map(|live| {
        let (execution, step) = (context.execution, context.step.clone());
        let send = move |bytes| live(LiveOutput { execution, step: step.clone(), stream, bytes });
        Box::new(send) as StreamSink
    });
    let recorder = Recorder::new(stream, context.output, redactor, live);
    if wants_raw { recorder } else { recorder.without_raw() }
}
