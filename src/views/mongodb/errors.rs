//! What MongoDB's driver reports, in the words of the port: the one place where this adapter translates errors.
//!
//! Nothing passes that could hold a secret of the connection, and no command of which the server complains: it quotes
//! them whole, and they hold views.

use bson::Document;
use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure};
use testledger_projections::ports::ViewStoreError;

/// How many characters of the server's own words are passed on.
const MAX_WORDS: usize = 300;
/// The server's code for a user without the rights: its words quote the command.
const UNAUTHORIZED: i32 = 13;
/// The server's code for a document that another transaction has written.
const WRITE_CONFLICT: i32 = 112;
/// The server's code for an insert that another transaction was faster with.
pub(super) const DUPLICATE_KEY: i32 = 11000;

/// What can go wrong inside of one piece of work.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was written, or it is not known whether something was: the same work may be done again.
    Again(String),
    /// The server is away, or refuses.
    Failed(String),
    /// What is stored, or is to be stored, is no view.
    Unreadable(String),
}

impl Fault {
    /// What it says.
    pub(super) fn words(self) -> String {
        match self {
            Self::Again(why) | Self::Failed(why) | Self::Unreadable(why) => why,
        }
    }

    /// The port's error, which names the database.
    pub(super) fn translate(self, database: &str) -> ViewStoreError {
        match self {
            Self::Again(why) | Self::Failed(why) => ViewStoreError::Unavailable(format!("MongoDB, {database}: {why}")),
            Self::Unreadable(why) => ViewStoreError::Unreadable(format!("MongoDB, {database}: {why}")),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let may_repeat = [TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];
        let words = words(&error.kind);
        if may_repeat.iter().any(|label| error.contains_label(label)) {
            Self::Again(words)
        } else {
            Self::Failed(words)
        }
    }
}

impl From<bson::error::Error> for Fault {
    fn from(error: bson::error::Error) -> Self {
        Self::Unreadable(cut(&error.to_string()))
    }
}

/// The server's code for a command that failed.
pub(super) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        _ => None,
    }
}

/// The server's refusal of one statement: a part of an answer that is no error.
pub(super) fn refusal(statement: &Document) -> Fault {
    let code = statement.get_i32("code").unwrap_or_default();
    let why = format!("a document was refused ({code}): {}", cut(statement.get_str("errmsg").unwrap_or_default()));
    if code == DUPLICATE_KEY { Fault::Again(why) } else { Fault::Failed(why) }
}

// The driver's enum is open (`non_exhaustive`): the last arm takes what is left.
fn words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Authentication { .. } => "the server does not accept the credentials".to_owned(),
        ErrorKind::Command(command) if command.code == UNAUTHORIZED => {
            "the user of the connection has not the rights to read and write here".to_owned()
        }
        ErrorKind::Command(command) if command.code == WRITE_CONFLICT => {
            "another worker is in the middle of a batch, or was killed in it: then the server gives that up in a minute"
                .to_owned()
        }
        ErrorKind::Command(command) => cut(&format!("{} ({}): {}", command.code_name, command.code, command.message)),
        ErrorKind::Io(error) => cut(&format!("the connection broke: {error}")),
        ErrorKind::ServerSelection { .. } => cut(&format!("no server answers: {kind}")),
        _ => cut(&kind.to_string()),
    }
}

/// The beginning of a text, without user name and password of the URIs in it.
fn cut(text: &str) -> String {
    without_credentials(text).chars().take(MAX_WORDS).collect()
}

/// Takes what stands between `//` and the last `@` of the same word away: also of a URI that is not well formed.
fn without_credentials(text: &str) -> String {
    let words = text.split(' ').map(|word| match (word.find("//"), word.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}//{}", &word[..start], &word[end + 1..]),
        (Some(_) | None, Some(_) | None) => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credentials_of_a_uri_pass() {
        let cases = [
            ("bad mongodb://ada:hunter22@127.0.0.1/x?y=z here", "bad mongodb://127.0.0.1/x?y=z here"),
            ("mongodb://x:hun@x/22@127.0.0.1", "mongodb://127.0.0.1"),
            ("`mongodb+srv://ada:hunter22@nowhere.invalid`", "`mongodb+srv://nowhere.invalid`"),
            ("nothing @ all // of it", "nothing @ all // of it"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_credentials(text), expected);
        }
    }

    #[test]
    fn the_servers_words_are_cut() {
        assert_eq!(cut(&"word ".repeat(1000)).chars().count(), MAX_WORDS);
    }
}
