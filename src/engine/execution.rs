//! One execution as the engine holds it: load its stream, decide, append; decide anew when somebody else was first.

use testledger_schemas::command::{Authority, Command};
use testledger_schemas::commit::{Commit, StreamHead};
use testledger_schemas::ids::{EventId, WorkerId};
use testledger_schemas::{Event, ExecutionId, Timestamp};

use crate::engine::error::ExecutionError;
use crate::engine::journal::{AppendRefused, Place, SharedJournal};
use crate::engine::planted;
use crate::execution::{Asked, Refusal, State, decide, evolve};
use crate::ports::fault::{self, Bug};

/// How many commits of a stream are read at once.
const COMMITS_AT_ONCE: usize = 1_000;
/// How often a decision is made anew because somebody else was first.
const MAX_CONFLICTS: usize = 100;

/// An execution's state with the end of its stream.
pub struct Execution {
    id: ExecutionId,
    root: ExecutionId,
    journal: SharedJournal,
    state: State,
    head: StreamHead,
    last_event: Option<EventId>,
    /// The epoch of the claim that was taken through this very value: whatever is said under another is refused, even
    /// where the same worker has taken the execution anew since.
    held: Option<u64>,
    /// The engine that wrote last; none where nobody but persons has.
    writer: Option<WorkerId>,
    /// When an engine wrote last.
    heard_at: Option<Timestamp>,
}

impl Execution {
    /// An execution of which nothing is known yet; the first action finds out. `root` is the suite's execution, or
    /// the execution itself.
    #[must_use]
    pub fn unread(journal: SharedJournal, id: ExecutionId, root: ExecutionId) -> Self {
        Self {
            id,
            root,
            journal,
            state: State::initial(),
            head: StreamHead::EMPTY,
            last_event: None,
            held: None,
            writer: None,
            heard_at: None,
        }
    }

    /// An execution, loaded from the log.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read.
    pub async fn load(journal: SharedJournal, id: ExecutionId, root: ExecutionId) -> Result<Self, ExecutionError> {
        let mut execution = Self::unread(journal, id, root);
        execution.refresh().await?;
        Ok(execution)
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// The state as of the last load or action.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The root execution: the suite's, or the execution itself.
    #[must_use]
    pub fn root(&self) -> ExecutionId {
        self.root
    }

    /// The engine it belongs to; none where a person acts.
    #[must_use]
    pub fn worker(&self) -> Option<WorkerId> {
        self.journal.worker
    }

    /// Who else has it: another engine, or something else in this one.
    #[must_use]
    pub fn claimed_elsewhere(&self) -> Option<WorkerId> {
        self.state.claim.filter(|claim| self.held != Some(claim.epoch)).map(|claim| claim.worker)
    }

    /// The engine whose business it is: the one that has the claim, or the last that wrote.
    #[must_use]
    pub fn owner(&self) -> Option<WorkerId> {
        self.state.claim.map(|claim| claim.worker).or(self.writer)
    }

    /// When an engine wrote last, as far as the log was read; what was written through this value is not counted.
    #[must_use]
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.heard_at
    }

    /// Folds what others have appended. Returns whether there was anything.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read.
    pub async fn refresh(&mut self) -> Result<bool, ExecutionError> {
        let before = self.head.number;
        loop {
            let commits = self.journal.log.read_stream(self.id.into(), self.head.number, COMMITS_AT_ONCE).await?;
            let more = commits.len() == COMMITS_AT_ONCE;
            for commit in commits {
                self.fold(&commit)?;
            }
            if !more {
                return Ok(self.head.number > before);
            }
        }
    }

    fn fold(&mut self, commit: &Commit) -> Result<(), ExecutionError> {
        for recorded in &commit.events {
            let event = recorded.read().map_err(|source| ExecutionError::Unreadable { execution: self.id, source })?;
            evolve(&mut self.state, &event);
            planted::evolved(&mut self.state, &event);
        }
        self.head = commit.head();
        self.last_event = commit.events.last().map(|event| event.event_id);
        if commit.worker.is_some() {
            self.writer = commit.worker;
            self.heard_at = Some(commit.recorded_at);
        }
        Ok(())
    }

    /// Carries out commands as one append: all or none. Returns the events, none if it was so already.
    ///
    /// The decision is made on the state at hand. If the log has moved on (the append conflicts, or the decision is a
    /// refusal and there is news), the news is folded and the decision made anew; nothing is ever sent twice with
    /// another meaning.
    ///
    /// # Errors
    /// [`ExecutionError`].
    pub async fn act(&mut self, commands: &[Command]) -> Result<Vec<Event>, ExecutionError> {
        for _ in 0..MAX_CONFLICTS {
            let (events, state, held) = match self.decide_all(commands) {
                Ok(decided) => decided,
                Err(refusal) => {
                    if self.refresh().await? {
                        continue;
                    }
                    return Err(ExecutionError::refused(self.id, refusal));
                }
            };
            if events.is_empty() {
                return Ok(events);
            }
            match self.journal.append(self.place(held, &state), events).await {
                Ok(appended) => {
                    if self.state.status.is_some() && self.state.status != state.status {
                        self.journal.latencies.transitions.add(appended.took);
                    }
                    self.state = state;
                    self.held = held;
                    self.writer = self.journal.worker.or(self.writer);
                    self.head = appended.head;
                    self.last_event = appended.last_event;
                    appended.events.iter().for_each(|event| planted::evolved(&mut self.state, event));
                    return Ok(appended.events.to_vec());
                }
                Err(AppendRefused::Conflict) => {
                    self.refresh().await?;
                    if fault::is_planted(Bug::ConflictIgnored) {
                        self.state = state;
                    }
                }
                Err(AppendRefused::Error(error)) => return Err(error),
            }
        }
        Err(ExecutionError::Internal(format!("execution {}: {MAX_CONFLICTS} conflicts in a row", self.id)))
    }

    /// Decides the commands one after the other, each on the state the one before has led to. The answer holds the claim
    /// that is held then.
    fn decide_all(&self, commands: &[Command]) -> Result<(Vec<Event>, State, Option<u64>), Refusal> {
        let (mut state, mut held) = (self.state.clone(), self.held);
        let mut events = vec![];
        for command in commands {
            let authority = self.journal.worker.zip(held).map(|(worker, epoch)| Authority { worker, epoch });
            let asked = Asked { command: command.clone(), authority, now: self.journal.now() };
            let decided = planted::decided(&state, decide(&planted::seen(&state, &asked), &asked))?;
            for event in &decided {
                if let Event::ExecutionClaimed(claimed) = event {
                    held = Some(claimed.epoch);
                }
                evolve(&mut state, event);
            }
            if let (Command::Claim(worker), Some(claim)) = (command, state.claim)
                && held != Some(claim.epoch)
            {
                // Something else in this very process has it.
                return Err(Refusal::AlreadyClaimed(*worker));
            }
            events.extend(decided);
        }
        Ok((events, state, held))
    }

    /// Where it is appended, and under which claim: the one that is held, if it is the current one, or is taken here.
    fn place(&self, held: Option<u64>, after: &State) -> Place {
        let is_taken = |epoch: u64| self.state.last_epoch < epoch && after.last_epoch == epoch;
        let is_current = |epoch: &u64| self.state.claim.is_some_and(|it| it.epoch == *epoch) || is_taken(*epoch);
        Place {
            stream: self.id.into(),
            head: self.head,
            claim_epoch: held.filter(is_current),
            correlation_id: Some(self.root),
            causation_id: self.last_event,
        }
    }
}
