//! What can go wrong with a test server, and what mends it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What an operation of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a server could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// No `mongod` that can be used; the text says what mends it.
    #[error("no MongoDB server to test with: {0}")]
    NoMongod(String),
    /// The server ended instead of listening.
    #[error("{binary} ended with {status} instead of listening on port {port}; its last words:\n{words}")]
    Ended {
        /// What was started.
        binary: PathBuf,
        /// How it ended.
        status: String,
        /// Where it should have listened.
        port: u16,
        /// The end of its log and of its output.
        words: String,
    },
    /// Somebody else listens on this port.
    #[error("port {0} of 127.0.0.1 is taken by another program")]
    PortTaken(u16),
    /// The driver, or the server through it, refused something.
    #[error("{what}: {source}")]
    Driver {
        /// What was asked for.
        what: String,
        /// What was answered.
        source: Box<mongodb::error::Error>,
    },
    /// Something did not happen in time.
    #[error("{what}: not within {patience:?}")]
    Late {
        /// What was waited for, and what was last seen.
        what: String,
        /// How long.
        patience: Duration,
    },
    /// What was asked for cannot be done; the text says why, and what mends it.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The code of a command that the server refused.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Driver { source, .. } => match source.kind.as_ref() {
                mongodb::error::ErrorKind::Command(refused) => Some(refused.code),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An error of the operating system, with what was attempted.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// An error of the driver, with what was asked for.
pub(crate) fn driver(what: impl Into<String>) -> impl FnOnce(mongodb::error::Error) -> Error {
    let what = what.into();
    move |source| Error::Driver { what, source: Box::new(source) }
}
