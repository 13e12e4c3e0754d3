//! What the MongoDB driver reports, in the words of the port. The one place where this adapter translates errors.

use std::sync::Arc;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::event_store::StoreError;

/// The server's codes this adapter knows by name.
pub(super) mod codes {
    pub(crate) const UNAUTHORIZED: i32 = 13;
    pub(crate) const AUTHENTICATION_FAILED: i32 = 18;
    pub(crate) const NAMESPACE_EXISTS: i32 = 48;
    pub(crate) const NO_REPLICATION: i32 = 76;
    pub(crate) const INVALID_RESUME_TOKEN: i32 = 260;
    pub(crate) const CHANGE_STREAM_FATAL: i32 = 280;
    pub(crate) const CHANGE_STREAM_HISTORY_LOST: i32 = 286;
    pub(crate) const OBJECT_TOO_LARGE: i32 = 10_334;
    pub(crate) const OUT_OF_DISK: i32 = 14_031;
    pub(crate) const DUPLICATE_KEY: i32 = 11_000;
    pub(crate) const RESUME_TOKEN_NOT_FOUND: i32 = 40_585;
    pub(crate) const RESUME_NOT_POSSIBLE: i32 = 40_576;
}

/// Translates errors of one database, so that every message names it, and never what is secret in its address.
#[derive(Clone, Debug)]
pub(super) struct Translator {
    name: Arc<str>,
    has_user: bool,
}

impl Translator {
    /// `name` is the address without user and password; `has_user` says whether it has them.
    pub(super) fn new(name: &str, has_user: bool) -> Self {
        Self { name: name.into(), has_user }
    }

    /// The port's error for what the driver reported.
    pub(super) fn store(&self, error: &Error) -> StoreError {
        match code_of(error) {
            Some(codes::UNAUTHORIZED) => {
                let mend = if self.has_user { NO_RIGHT } else { NO_USER };
                return self.refused(&format!("{}; {mend}", words(error)));
            }
            Some(codes::AUTHENTICATION_FAILED) => return self.refused(WRONG_USER),
            Some(codes::NO_REPLICATION) => return self.refused(STANDALONE),
            Some(codes::OUT_OF_DISK) => return self.unavailable("the server's disk is full; make room"),
            Some(_) | None => {}
        }
        // The driver's own enum is open (`non_exhaustive`): the last arm takes what may pass.
        match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => self.refused(WRONG_USER),
            // Another connection of the pool was refused, and the driver tells the cause in its words alone.
            ErrorKind::ConnectionPoolCleared { message, .. } if message.contains(REFUSED_USER) => {
                self.refused(WRONG_USER)
            }
            ErrorKind::InvalidTlsConfig { .. } | ErrorKind::IncompatibleServer { .. } => self.refused(&words(error)),
            ErrorKind::InvalidArgument { .. } => self.refused(&words(error)),
            ErrorKind::Bson(_) => self.damaged(&words(error)),
            ErrorKind::ServerSelection { .. } => self
                .unavailable("no primary answers; is the replica set running and initiated, and this address right?"),
            _ => self.unavailable(&words(error)),
        }
    }

    /// A document that cannot be what this program wrote.
    pub(super) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged(format!("{}: {what}", self.name))
    }

    /// A refusal that names the database.
    pub(super) fn refused(&self, why: &str) -> StoreError {
        StoreError::Refused(format!("{}: {why}", self.name))
    }

    /// What may pass.
    pub(super) fn unavailable(&self, why: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: {why}", self.name))
    }

    /// The error of whoever comes after the log was closed.
    pub(super) fn closed(&self) -> StoreError {
        self.unavailable("the log was closed by this process")
    }
}

/// What a server without a replica set is told.
pub(super) const STANDALONE: &str = "this server is not a member of a replica set, and the log needs one (for change \
     streams and majority writes): start mongod with --replSet rs0 and run rs.initiate(); one node is enough";
const NO_RIGHT: &str = "give this user the role readWrite on the database (read, to look only)";
const NO_USER: &str = "name a user in the address: mongodb://USER:PASSWORD@HOST:PORT/DATABASE?authSource=admin";
/// The server's name of [`codes::AUTHENTICATION_FAILED`].
const REFUSED_USER: &str = "AuthenticationFailed";
const WRONG_USER: &str = "the server does not accept this user and password; check both, and authSource in the address";

/// The server's code for an error, whatever kind of call it was.
pub(super) fn code_of(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        _ => None,
    }
}

/// Whether something is there already under a unique key.
pub(super) fn is_duplicate(error: &Error) -> bool {
    code_of(error) == Some(codes::DUPLICATE_KEY)
}

/// Whether the change stream cannot go on from where it was asked to: what was there is cut off, or cannot be told (a
/// change that is larger than a message, which only another hand makes).
pub(super) fn is_history_lost(error: &Error) -> bool {
    let refused = [
        codes::CHANGE_STREAM_HISTORY_LOST,
        codes::CHANGE_STREAM_FATAL,
        codes::INVALID_RESUME_TOKEN,
        codes::RESUME_TOKEN_NOT_FOUND,
        codes::RESUME_NOT_POSSIBLE,
        codes::OBJECT_TOO_LARGE,
    ];
    code_of(error).is_some_and(|code| refused.contains(&code))
}

/// The server's own words where it has some: the driver's repeat the whole reply.
pub(super) fn words(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        ErrorKind::Command(error) => format!("{} ({})", error.message, error.code_name),
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.message.clone(),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => error.message.clone(),
        // Without the driver's labels and sources, which are for programs.
        _ => error.kind.to_string(),
    }
}
