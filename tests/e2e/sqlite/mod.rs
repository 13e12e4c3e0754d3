//! The store of the places of this target, a SQLite file, and the tests of that file itself.

mod cleaning;
pub mod store;
mod stores;
