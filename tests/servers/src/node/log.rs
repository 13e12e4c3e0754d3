//! What a server says of itself in its log.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// In the line that says that it takes connections ("Waiting for connections"): the number of a message stays the same
/// over versions, its words may not.
const LISTENING: &str = "\"id\":23016,";
/// How much of it is shown where a start fails.
const SHOWN_LINES: usize = 8;

/// The log of one run of a server; runs before it are skipped.
pub(super) struct Log {
    file: PathBuf,
    begin: u64,
}

impl Log {
    /// What is written to this file from now on.
    pub fn from_now_on(file: PathBuf) -> Self {
        let begin = fs::metadata(&file).map_or(0, |found| found.len());
        Self { file, begin }
    }

    /// Whether the server takes connections.
    pub fn says_listening(&self) -> bool {
        self.text().contains(LISTENING)
    }

    /// The end of it.
    pub fn last_lines(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| format!("{line}\n")).collect()
    }

    /// Empty until the server has created it.
    fn text(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(self.begin))?;
            let mut bytes = vec![];
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }
}
