//! Why a report cannot be read, and what would mend it.

/// Why a tool's JUnit report cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReportError {
    /// It has more bytes than will be read.
    #[error("the report has {bytes} bytes, more than the {limit} that are read; split the run into several steps")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that are read.
        limit: usize,
    },
    /// It is in an encoding that is not read.
    #[error("the report is encoded in `{encoding}`; write it as UTF-8 (UTF-16, ISO-8859-1 and US-ASCII are read too)")]
    Encoding {
        /// The encoding it declares.
        encoding: String,
    },
    /// There is nothing in it.
    #[error("the report is empty; its tool was stopped before it wrote anything, or writes somewhere else")]
    Empty,
    /// It is not the XML of a JUnit report.
    #[error("line {line}, column {column}: {problem}; {mend}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
        /// What would be right.
        mend: &'static str,
    },
}
