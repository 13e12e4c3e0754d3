//! The store of the places of this target, a SQLite file, and the tests of that file itself.

pub mod store;
mod stores;
