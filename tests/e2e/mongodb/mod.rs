//! The store of the places of this target, a database, and the tests of what only a server can do.

mod away;
mod leases;
mod passwords;
pub mod store;
mod stores;
