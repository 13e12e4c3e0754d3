//! What proves the log: verify, export, erase.
