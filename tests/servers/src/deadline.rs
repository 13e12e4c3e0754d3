//! Waiting for something that has to be looked at again and again, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The wait between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// When patience is at its end.
pub(crate) struct Deadline {
    began: Instant,
    patience: Duration,
}

impl Deadline {
    /// So much patience from now on.
    pub fn after(patience: Duration) -> Self {
        Self { began: Instant::now(), patience }
    }

    /// Waits a moment before the next look.
    ///
    /// # Errors
    /// Patience is at its end; `what` says what was waited for.
    pub async fn pause(&self, what: &str) -> Result<()> {
        self.check(what)?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// Patience is at its end.
    pub fn pause_blocking(&self, what: &str) -> Result<()> {
        self.check(what)?;
        thread::sleep(PAUSE);
        Ok(())
    }

    fn check(&self, what: &str) -> Result<()> {
        if self.began.elapsed() < self.patience {
            return Ok(());
        }
        Err(Error::Late { what: what.to_owned(), patience: self.patience })
    }
}
