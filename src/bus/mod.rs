//! Live updates within this process.
