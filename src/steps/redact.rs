//! What must not be seen, found across chunk borders and in its common encodings.

use std::sync::Arc;

/// What must not be seen. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<Vec<String>>,
}

impl Redactor {
    /// Redacts these.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self { secrets: Arc::new(secrets.into_iter().filter(|secret| secret.len() > 2).collect()) }
    }

    /// Redacts one more.
    #[must_use]
    pub fn with(&self, secret: &str) -> Self {
        Self::new(self.secrets.iter().cloned().chain([secret.to_owned()]))
    }

    /// The text without the secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}
