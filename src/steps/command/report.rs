//! The JUnit report that a command writes: found, known to be new, read, redacted.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use testledger_schemas::StepOutcome;

use crate::steps::junit::{self, MAX_REPORT_BYTES};
use crate::steps::redact::Redactor;
use crate::steps::{Reported, StepContext};

/// So many names of failed test cases are told in a step's message.
const NAMES_TOLD: usize = 3;

/// The file in which a report is expected, and what was there before the command ran.
pub struct ReportFile {
    path: PathBuf,
    before: Option<Mark>,
}

/// What changes whenever a file is written, in nanoseconds where the file system has them: device, inode, size,
/// modification, change.
type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

fn mark(of: &Metadata) -> Mark {
    (of.dev(), of.ino(), of.size(), (of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec()))
}

impl ReportFile {
    /// Looks at the file before the command runs.
    pub async fn look(path: PathBuf) -> Self {
        let before = tokio::fs::metadata(&path).await.ok().as_ref().map(mark);
        Self { path, before }
    }

    /// Reads the report after the command has ended. Names and messages are redacted.
    ///
    /// # Errors
    /// Why there are no results, in words, with the mend.
    pub async fn read(self, context: &StepContext, redactor: Redactor) -> Result<Vec<Reported>, String> {
        let identity = context.identity.clone();
        // Large reports take their time: not on the threads that drive everything else.
        let work = tokio::task::spawn_blocking(move || {
            let xml = self.load()?;
            let identity = (identity.0.as_str(), identity.1.as_str(), identity.2.as_str());
            // Redacted before anything is cut: a secret across a cut would show its half otherwise.
            junit::read_redacted(&xml, identity, &|text| redactor.text(text))
                .map_err(|error| self.tell(&redactor.text(&error.to_string())))
        });
        work.await.unwrap_or_else(|error| Err(format!("the report could not be read: {error}")))
    }

    fn load(&self) -> Result<Vec<u8>, String> {
        let missing = |error| self.tell(&format!("it was not written ({error}): let the command write it there"));
        let found = fs::metadata(&self.path).map_err(missing)?;
        if !found.is_file() {
            return Err(self.tell("it is not a file"));
        }
        if self.before == Some(mark(&found)) {
            return Err(
                self.tell("it is from before this step and was not written by it: an old report proves nothing")
            );
        }
        if found.len() > MAX_REPORT_BYTES as u64 {
            return Err(self.tell(&format!("it has {} bytes, more than {MAX_REPORT_BYTES}", found.len())));
        }
        read_bounded(&self.path).map_err(|error| self.tell(&error.to_string()))
    }

    fn tell(&self, what: &str) -> String {
        format!("the JUnit report `{}` cannot be used: {what}", self.path.display())
    }
}

/// All of a file, but not much more than the bound if it grows meanwhile: the reader refuses that.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(MAX_REPORT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a report says went wrong, with counts and the first names; none if nothing did.
pub fn failures(reported: &[Reported]) -> Option<String> {
    let failed: Vec<_> = reported.iter().filter(|reported| is_failure(reported.result.outcome)).collect();
    if failed.is_empty() {
        return None;
    }
    let names: Vec<_> = failed.iter().take(NAMES_TOLD).map(|reported| reported.case.name.as_str()).collect();
    let more = if failed.len() > NAMES_TOLD { ", ..." } else { "" };
    Some(format!("{} of {} test cases failed by its report: {}{more}", failed.len(), reported.len(), names.join(", ")))
}

fn is_failure(outcome: StepOutcome) -> bool {
    match outcome {
        StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout => true,
        StepOutcome::Passed
        | StepOutcome::Cancelled
        | StepOutcome::Skipped
        | StepOutcome::Interrupted
        | StepOutcome::Blocked => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::junit::MAX_MESSAGE_BYTES;
    use crate::steps::testing::context;

    #[tokio::test]
    async fn of_a_secret_no_half_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.xml");
        let secret = "correct-horse-battery";
        // Wherever the message is cut, a secret stands across the cut.
        let message = secret.repeat(MAX_MESSAGE_BYTES / secret.len() * 4);
        let xml = format!("<testsuite><testcase name='t {secret}'><failure>{message}</failure></testcase></testsuite>");
        let report = ReportFile::look(path.clone()).await;
        std::fs::write(&path, xml).unwrap();
        let reported = report.read(&context(), Redactor::new([secret.to_owned()])).await.unwrap();
        assert_eq!(reported[0].case.name, "t ***");
        let left: String = reported[0].case.message.split("[...]").flat_map(|part| part.chars()).collect();
        assert!(left.chars().all(|sign| sign == '*' || sign.is_whitespace()), "{left}");
    }
}
