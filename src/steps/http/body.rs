//! The body of a response while it comes in: recorded as it comes, or held back until its secrets are known.

use testledger_schemas::event::OutputStream;

use crate::event_store::StoreError;
use crate::steps::context::{LiveOutput, StepContext};
use crate::steps::output::{Recorded, Recorder};
use crate::steps::redact::Redactor;

/// A body that comes in.
pub struct Body {
    keeper: Keeper,
    received: u64,
    cap: usize,
}

enum Keeper {
    /// Nothing of it is secret beyond what is known: it is recorded, and seen live, as it comes.
    Recorder(Box<Recorder>),
    /// A secret is to be captured from it: nothing is recorded before that is known. Up to the cap.
    Held(Vec<u8>),
}

/// A body that is all there, as far as it is kept.
pub enum Whole {
    /// It is recorded.
    Recorded(Box<Recorded>),
    /// It waits to be recorded: see [`record`].
    Held(Vec<u8>),
}

impl Body {
    /// A body of which nothing is there yet.
    pub fn new(held: bool, context: &StepContext, redactor: &Redactor) -> Self {
        let keeper =
            if held { Keeper::Held(vec![]) } else { Keeper::Recorder(Box::new(recorder(context, redactor, true))) };
        Self { keeper, received: 0, cap: context.output.kept_bytes }
    }

    /// Takes the next part of it.
    pub fn push(&mut self, part: &[u8]) {
        self.received = self.received.saturating_add(part.len() as u64);
        match &mut self.keeper {
            Keeper::Recorder(recorder) => recorder.push(part),
            Keeper::Held(bytes) => {
                let room = self.cap.saturating_sub(bytes.len());
                bytes.extend_from_slice(part.get(..room).unwrap_or(part));
            }
        }
    }

    /// The bytes that came in.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish(self, context: &StepContext) -> Result<Whole, StoreError> {
        Ok(match self.keeper {
            Keeper::Recorder(recorder) => Whole::Recorded(Box::new(recorder.finish(&context.log).await?)),
            Keeper::Held(bytes) => Whole::Held(bytes),
        })
    }
}

/// Records a body that was held back.
///
/// # Errors
/// [`StoreError`].
pub async fn record(bytes: &[u8], context: &StepContext, redactor: &Redactor) -> Result<Recorded, StoreError> {
    let mut recorder = recorder(context, redactor, false);
    recorder.push(bytes);
    recorder.finish(&context.log).await
}

fn recorder(context: &StepContext, redactor: &Redactor, seen_live: bool) -> Recorder {
    let live = context.live.clone().filter(|_| seen_live).map(|live| {
        let (execution, step) = (context.execution, context.step.clone());
        let send = move |bytes| live(LiveOutput { execution, step: step.clone(), stream: OutputStream::Body, bytes });
        Box::new(send) as Box<dyn Fn(Vec<u8>) + Send>
    });
    Recorder::new(OutputStream::Body, context.output, redactor, live)
}
