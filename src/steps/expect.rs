//! What was expected and does not hold.
