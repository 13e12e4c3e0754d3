//! The shell around the decider: load, decide, append, act.
