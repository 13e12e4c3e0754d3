//! Real MongoDB servers on the loopback interface, for tests, benches and developers of testledger.
//!
//! A test that needs a log asks for a [`fresh_database`]; one that breaks servers starts a [`ReplicaSet`] or a [`Node`]
//! of its own. Nothing of it outlives its owner: values end their servers when they are dropped, and the kernel ends
//! them when the process dies in any other way. Linux only.

mod bounded;
mod deadline;
mod error;
mod folder;
mod guard;
mod mongod;
mod network;
mod node;
mod port;
mod replica_set;
pub mod services;
mod shared;
mod uri;

pub use error::{Error, Result};
pub use guard::spawn;
pub use mongod::Mongod;
pub use network::Network;
pub use node::{Node, NodeOptions};
pub use replica_set::{REPLICA_SET, ReplicaSet, ReplicaSetOptions};
pub use shared::{FreshDatabase, SharedServer, VARIABLE, fresh_database, shared};
