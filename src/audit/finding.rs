//! What an audit can find, and what it means.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::commit::CommitId;
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::EventId;

/// One place where the log is not what this program wrote. Printed as one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A page cannot be read.
    PageUnreadable {
        /// The page, or the next one that is there.
        page: u64,
        /// What the store says.
        reason: String,
    },
    /// Pages are missing: numbers are dense.
    PagesMissing {
        /// The first missing page.
        page: u64,
        /// The last missing page.
        last: u64,
    },
    /// A page's fields do not give its hash.
    PageEdited {
        /// The page.
        page: u64,
    },
    /// A page does not continue the page before it.
    PageChainBroken {
        /// The page.
        page: u64,
    },
    /// A page does not begin at the position after the page before.
    PagePosition {
        /// The page.
        page: u64,
        /// Where it should begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// Page 0 does not open this log as it should, or another page says that it opens one.
    Header {
        /// The page.
        page: u64,
        /// What is wrong.
        reason: String,
    },
    /// The commit was already wrong when it was given its place.
    SealedFaulty {
        /// The page.
        page: u64,
        /// The commit.
        commit: CommitId,
        /// What was wrong.
        fault: String,
    },
    /// A page names a commit that is not there.
    CommitMissing {
        /// The page.
        page: u64,
        /// The commit.
        commit: CommitId,
        /// Its first position.
        position: u64,
    },
    /// A commit cannot be read.
    CommitUnreadable {
        /// The page.
        page: u64,
        /// The commit.
        commit: CommitId,
        /// Its first position.
        position: u64,
        /// What the store says.
        reason: String,
    },
    /// The stored text of a commit is not the one this program wrote, whatever it says.
    CommitAltered {
        /// The commit.
        commit: CommitId,
        /// What the store says.
        reason: String,
    },
    /// A commit's fields or contents do not give their hashes.
    CommitEdited {
        /// The commit.
        commit: CommitId,
        /// Its first position.
        position: u64,
        /// What exactly.
        fault: String,
    },
    /// A commit is whole in itself, but not the one that its page names.
    CommitReplaced {
        /// The page.
        page: u64,
        /// The commit the page names.
        commit: CommitId,
        /// Its first position.
        position: u64,
        /// What differs.
        reason: String,
    },
    /// A commit has more than one place in the order.
    CommitTwice {
        /// The page that names it again.
        page: u64,
        /// The commit.
        commit: CommitId,
        /// The position of that second place.
        position: u64,
    },
    /// The commits of a stream are not given in the order of their numbers.
    CommitOrder {
        /// The page.
        page: u64,
        /// The commit.
        commit: CommitId,
        /// The number that was due.
        expected: u64,
    },
    /// A commit does not continue its stream's commit before it.
    StreamChainBroken {
        /// The commit.
        commit: CommitId,
        /// Its first position.
        position: u64,
        /// What does not fit.
        reason: String,
    },
    /// A commit is stored that no page names.
    CommitWithoutPage {
        /// The primary key as it is stored.
        row: String,
        /// Why it cannot be read, if it cannot.
        unreadable: Option<String>,
    },
    /// An event cannot be read by this program.
    EventUnreadable {
        /// Its position.
        position: u64,
        /// Its commit.
        commit: CommitId,
        /// The event.
        event: EventId,
        /// Why.
        reason: String,
    },
    /// The content of an event is gone, and no `DataErased` names it.
    ContentGone {
        /// Its position.
        position: u64,
        /// Its commit.
        commit: CommitId,
        /// The event.
        event: EventId,
    },
    /// An artifact that an event names is not there, and no `DataErased` names it.
    ArtifactGone {
        /// The artifact.
        artifact: Hash,
        /// The position of the first event that names it.
        position: u64,
    },
    /// The bytes of an artifact are not those of its hash.
    ArtifactEdited {
        /// The artifact.
        artifact: Hash,
        /// The position of the first event that names it.
        position: u64,
    },
    /// The page of the expected `PAGE:HASH` is not there: the end of the log was cut off.
    TailCut {
        /// The expected page.
        page: u64,
        /// The last page there is; none if there is no page at all.
        last: Option<u64>,
    },
    /// The page of the expected `PAGE:HASH` has another hash: the log was rewritten, or is another one.
    Rewritten {
        /// The expected page.
        page: u64,
        /// The expected hash.
        expected: Hash,
        /// The hash it has.
        found: Hash,
    },
    /// The audit stopped here: too much in a row cannot be read.
    Unreadable {
        /// What.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageUnreadable { page, reason } => write!(f, "page {page}: cannot be read ({reason})"),
            Self::PagesMissing { page, last } if page == last => {
                write!(f, "page {page}: missing; the order of its commits is lost")
            }
            Self::PagesMissing { page, last } => {
                write!(f, "pages {page} to {last}: missing; the order of their commits is lost")
            }
            Self::PageEdited { page } => write!(f, "page {page}: its fields do not give its hash; it was edited"),
            Self::PageChainBroken { page } => {
                write!(f, "page {page}: does not continue the page before it; one of the two was replaced")
            }
            Self::PagePosition { page, expected, found } => {
                write!(f, "page {page}: begins at position {found} instead of {expected}")
            }
            Self::Header { page, reason } => write!(f, "page {page}: {reason}"),
            Self::SealedFaulty { page, commit, fault } => {
                write!(f, "page {page}, commit {commit}: was already wrong when it got its place ({fault})")
            }
            Self::CommitMissing { page, commit, position } => {
                write!(f, "page {page}, position {position}: the commit {commit} is missing; it was deleted")
            }
            Self::CommitUnreadable { page, commit, position, reason } => {
                write!(f, "page {page}, position {position}: the commit {commit} cannot be read ({reason})")
            }
            Self::CommitAltered { commit, reason } => write!(f, "commit {commit}: its row was altered ({reason})"),
            Self::CommitEdited { commit, position, fault } => {
                write!(f, "position {position}: the commit {commit} was edited ({fault})")
            }
            Self::CommitReplaced { page, commit, position, reason } => {
                write!(
                    f,
                    "page {page}, position {position}: the commit {commit} is not the one sealed there ({reason})"
                )
            }
            Self::CommitTwice { page, commit, position } => {
                write!(f, "page {page}, position {position}: the commit {commit} already has an earlier place")
            }
            Self::CommitOrder { page, commit, expected } => {
                write!(f, "page {page}: the commit {commit} is given where number {expected} of its stream is due")
            }
            Self::StreamChainBroken { commit, position, reason } => {
                write!(f, "position {position}: the commit {commit} does not continue its stream ({reason})")
            }
            Self::CommitWithoutPage { row, unreadable: None } => {
                write!(f, "commit {row}: no page names it; it was inserted, or its page was cut off")
            }
            Self::CommitWithoutPage { row, unreadable: Some(reason) } => {
                write!(f, "commit {row}: no page names it, and it cannot be read ({reason})")
            }
            Self::EventUnreadable { position, commit, event, reason } => {
                write!(f, "position {position}: the event {event} of the commit {commit} cannot be read ({reason})")
            }
            Self::ContentGone { position, commit, event } => write!(
                f,
                "position {position}: the content of the event {event} of the commit {commit} is gone, and no \
                 DataErased names it"
            ),
            Self::ArtifactGone { artifact, position } => {
                write!(f, "position {position}: the artifact {artifact} is gone, and no DataErased names it")
            }
            Self::ArtifactEdited { artifact, position } => {
                write!(f, "position {position}: the bytes of the artifact {artifact} are not those of its hash")
            }
            Self::TailCut { page, last: Some(last) } => {
                write!(f, "page {page} was expected and the last page is {last}: the end of the log was cut off")
            }
            Self::TailCut { page, last: None } => write!(f, "page {page} was expected and there is no page at all"),
            Self::Rewritten { page, expected, found } => write!(
                f,
                "page {page}: has the hash {found} and {expected} was expected: the log was rewritten, or is another one"
            ),
            Self::Unreadable { reason } => f.write_str(reason),
        }
    }
}
