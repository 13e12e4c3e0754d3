//! The store of the places of this target, a database, and the tests of what only a server can do.

mod away;
mod passwords;
pub mod store;
mod stores;
