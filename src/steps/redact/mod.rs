//! What must not be seen, found across chunk borders and in its common encodings.

/// What must not be seen. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {}
