//! What a service prints: read all the time, recorded, and watched for the line that makes it ready.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use testledger_schemas::event::{OutputExcerpt, OutputFacts, OutputStream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ServiceContext;
use super::ready::Readiness;
use crate::event_store::SharedLog;
use crate::steps::context::LiveOutput;
use crate::steps::output::Recorder;

/// So much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Of a line so much is held against the pattern.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// After the end of the process tree, so long is waited for the end of its output: only a process that is no
/// descendant can hold it open.
const DRAIN: Duration = Duration::from_secs(2);

/// So many of the last lines stand in a message.
const LAST_LINES: usize = 5;

/// So much of a line stands in a message.
const LAST_LINE_CHARS: usize = 200;

type Source = Box<dyn AsyncRead + Send + Unpin>;

/// The two streams of a service, each read by a task of its own. The tasks end when this is dropped.
pub struct Streams {
    tasks: Vec<JoinHandle<Recorder>>,
    seen: watch::Receiver<bool>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What a service printed.
pub struct Printed {
    pub facts: Vec<OutputFacts>,
    pub excerpts: Vec<OutputExcerpt>,
    /// Why some of it is lost, if it is.
    pub lost: Option<String>,
}

impl Streams {
    /// Begins to read both.
    pub fn read(id: &str, stdout: Source, stderr: Source, readiness: &Readiness, context: &ServiceContext) -> Self {
        let (sender, seen) = watch::channel(false);
        let (sender, stop) = (Arc::new(sender), CancellationToken::new());
        let spawn = |source, stream| {
            let watched = readiness.log_pattern().map(|regex| LineWatch::new(regex.clone(), Arc::clone(&sender)));
            tokio::spawn(read(source, recorder(id, stream, context), watched, stop.clone()))
        };
        let tasks = vec![spawn(stdout, OutputStream::Stdout), spawn(stderr, OutputStream::Stderr)];
        Self { tasks, seen, _stop_when_dropped: stop.clone().drop_guard(), stop }
    }

    /// Turns true when the line was seen that makes the service ready.
    pub fn seen(&self) -> watch::Receiver<bool> {
        self.seen.clone()
    }

    /// Reads the rest and makes it durable. To be called when the process tree is gone.
    pub async fn finish(self, log: &SharedLog) -> Printed {
        let mut printed = Printed { facts: vec![], excerpts: vec![], lost: None };
        for mut task in self.tasks {
            let recorder = match timeout(DRAIN, &mut task).await {
                Ok(recorder) => recorder,
                Err(_) => {
                    self.stop.cancel();
                    task.await
                }
            };
            printed.take(recorder, log).await;
        }
        printed
    }
}

impl Printed {
    async fn take(&mut self, recorder: Result<Recorder, tokio::task::JoinError>, log: &SharedLog) {
        let recorded = match recorder {
            Ok(recorder) => recorder.finish(log).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match recorded {
            Ok(recorded) => {
                self.facts.push(recorded.facts);
                self.excerpts.push(recorded.excerpt);
            }
            Err(reason) => self.lost = Some(reason),
        }
    }

    /// The message with the last lines that were printed: of the standard error, or else of the standard output.
    pub fn after(&self, message: &str) -> String {
        let of = |stream| self.excerpts.iter().find(|it| it.stream == stream).map_or_else(Vec::new, last_lines);
        let mut lines = of(OutputStream::Stderr);
        if lines.is_empty() {
            lines = of(OutputStream::Stdout);
        }
        if lines.is_empty() {
            format!("{message}; it printed nothing")
        } else {
            format!("{message}\n{}", lines.join("\n"))
        }
    }
}

/// The last lines of an excerpt, which is redacted already.
fn last_lines(excerpt: &OutputExcerpt) -> Vec<String> {
    let text = if excerpt.tail.is_empty() { &excerpt.head } else { &excerpt.tail };
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
    last.map(|line| format!("  {}", line.chars().take(LAST_LINE_CHARS).collect::<String>())).collect()
}

fn recorder(id: &str, stream: OutputStream, context: &ServiceContext) -> Recorder {
    let live = context.live.clone().map(|live| {
        let (execution, step) = (context.execution, id.to_owned());
        let send = move |bytes| live(LiveOutput { execution, step: step.clone(), stream, bytes });
        Box::new(send) as Box<dyn Fn(Vec<u8>) + Send>
    });
    Recorder::new(stream, context.output, &context.redactor, live)
}

/// Reads to the end, or until it is to stop.
async fn read(
    mut source: Source,
    mut recorder: Recorder,
    mut watched: Option<LineWatch>,
    stop: CancellationToken,
) -> Recorder {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = tokio::select! {
            read = source.read(&mut buffer) => read,
            () = stop.cancelled() => return recorder,
        };
        // An error of a pipe is its end.
        let bytes = buffer.get(..read.unwrap_or(0)).unwrap_or_default();
        if bytes.is_empty() {
            return recorder;
        }
        recorder.push(bytes);
        watched = watched.and_then(|watched| watched.push(bytes));
    }
}

/// Looks for a pattern in lines, also in the beginning of one that is not complete.
struct LineWatch {
    regex: Regex,
    line: Vec<u8>,
    seen: Arc<watch::Sender<bool>>,
}

impl LineWatch {
    fn new(regex: Regex, seen: Arc<watch::Sender<bool>>) -> Self {
        Self { regex, line: vec![], seen }
    }

    /// Takes more output; gone when the pattern was found.
    fn push(mut self, bytes: &[u8]) -> Option<Self> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if self.regex.is_match(String::from_utf8_lossy(&self.line).trim_end_matches(['\r', '\n'])) {
                self.seen.send_replace(true);
                return None;
            }
            if part.ends_with(b"\n") {
                self.line.clear();
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch_for(regex: &str) -> (LineWatch, watch::Receiver<bool>) {
        let (sender, seen) = watch::channel(false);
        (LineWatch::new(Regex::new(regex).unwrap(), Arc::new(sender)), seen)
    }

    #[test]
    fn a_line_is_found_across_chunks_and_before_its_end() {
        let (watched, seen) = watch_for("^ready on [0-9]+$");
        let watched = watched.push(b"not ready on 5\nrea").unwrap().push(b"dy on ").unwrap();
        assert!(!*seen.borrow());
        assert!(watched.push(b"80").is_none());
        assert!(*seen.borrow());
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let (mut watched, seen) = watch_for("never");
        for _ in 0..10 {
            watched = watched.push(&[b'x'; MAX_LINE_BYTES]).unwrap();
        }
        assert_eq!(watched.line.len(), MAX_LINE_BYTES);
        assert!(watched.push(b"\nnever\r\n").is_none());
        assert!(*seen.borrow());
    }
}
