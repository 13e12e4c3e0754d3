//! One execution as the engine holds it: load its stream, decide, append; decide anew when somebody else was first.

use testledger_schemas::command::{Authority, Command};
use testledger_schemas::commit::{Commit, StreamHead};
use testledger_schemas::ids::EventId;
use testledger_schemas::{Event, ExecutionId};

use crate::engine::error::ExecutionError;
use crate::engine::journal::{AppendRefused, Place, SharedJournal};
use crate::execution::{Asked, Refusal, State, decide, evolve};

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
}

impl Execution {
    /// An execution of which nothing is known yet; the first action finds out. `root` is the suite's execution, or
    /// the execution itself.
    #[must_use]
    pub fn unread(journal: SharedJournal, id: ExecutionId, root: ExecutionId) -> Self {
        Self { id, root, journal, state: State::initial(), head: StreamHead::EMPTY, last_event: None }
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
        }
        self.head = commit.head();
        self.last_event = commit.events.last().map(|event| event.event_id);
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
            let (events, state) = match self.decide_all(commands) {
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
            match self.journal.append(self.place(&state), events).await {
                Ok(appended) => {
                    if self.state.status.is_some() && self.state.status != state.status {
                        self.journal.latencies.transitions.add(appended.took);
                    }
                    self.state = state;
                    self.head = appended.head;
                    self.last_event = appended.last_event;
                    return Ok(appended.events.to_vec());
                }
                Err(AppendRefused::Conflict) => {
                    self.refresh().await?;
                }
                Err(AppendRefused::Error(error)) => return Err(error),
            }
        }
        Err(ExecutionError::Internal(format!("execution {}: {MAX_CONFLICTS} conflicts in a row", self.id)))
    }

    /// Decides the commands one after the other, each on the state the one before has led to.
    fn decide_all(&self, commands: &[Command]) -> Result<(Vec<Event>, State), Refusal> {
        let mut state = self.state.clone();
        let mut events = vec![];
        for command in commands {
            let asked = Asked { command: command.clone(), authority: self.authority(&state), now: self.journal.now() };
            let decided = decide(&state, &asked)?;
            decided.iter().for_each(|event| evolve(&mut state, event));
            events.extend(decided);
        }
        Ok((events, state))
    }

    /// The claim under which this engine speaks: its own, if it has one.
    fn authority(&self, state: &State) -> Option<Authority> {
        let own = state.claim.filter(|claim| Some(claim.worker) == self.journal.worker);
        own.map(|claim| Authority { worker: claim.worker, epoch: claim.epoch })
    }

    fn place(&self, after: &State) -> Place {
        let epoch = |state: &State| self.authority(state).map(|authority| authority.epoch);
        Place {
            stream: self.id.into(),
            head: self.head,
            claim_epoch: epoch(&self.state).or_else(|| epoch(after)),
            correlation_id: Some(self.root),
            causation_id: self.last_event,
        }
    }
}
