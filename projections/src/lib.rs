//! Views folded from the log: pure folds, and one async worker that runs them.
