//! How a replica set is started.

use crate::network::Network;
use crate::node::NodeOptions;

/// The oplog of a set that is to be overrun, in MB: the least that the command line takes (the command that resizes it
/// later takes 990 at least).
const SMALL_OPLOG_MB: u32 = 1;
const SMALL_OPLOG_CHECKPOINT_S: u32 = 1;

/// How a replica set is started.
#[derive(Clone, Debug)]
pub struct ReplicaSetOptions {
    pub(super) nodes: usize,
    pub(super) node: NodeOptions,
    pub(super) journaled_majority: bool,
    pub(super) network: Option<Network>,
}

impl ReplicaSetOptions {
    /// A set of so many servers, 1 or 3.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, node: NodeOptions::member(), journaled_majority: true, network: None }
    }

    /// With an oplog of 1 MB that is cut every second, so that [`ReplicaSet::overrun_oplog`] takes little.
    ///
    /// [`ReplicaSet::overrun_oplog`]: crate::ReplicaSet::overrun_oplog
    #[must_use]
    pub fn small_oplog(mut self) -> Self {
        self.node.oplog_mb = SMALL_OPLOG_MB;
        self.node.checkpoint_s = SMALL_OPLOG_CHECKPOINT_S;
        self
    }

    /// With `writeConcernMajorityJournalDefault: false`: a majority acknowledges what is not in its journals. testledger
    /// refuses such a set.
    #[must_use]
    pub fn unjournaled_majority(mut self) -> Self {
        self.journaled_majority = false;
        self
    }

    /// With servers that can be cut off, each at a cable of its own.
    #[must_use]
    pub fn within(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// With one more server parameter (`--setParameter`) on every server.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.node = self.node.parameter(name, value);
        self
    }
}
