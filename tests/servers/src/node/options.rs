//! How a server is started.

use std::net::SocketAddrV4;

use crate::replica_set::REPLICA_SET;

/// The exit code of a `mongod` that cannot listen on its port.
pub(crate) const PORT_TAKEN: i32 = 48;
/// The oplog of a server that nobody wants to overrun, in MB.
const OPLOG_MB: u32 = 512;
/// The usual time between checkpoints.
const CHECKPOINT_S: u32 = 60;
/// A small cache: many of these servers share one machine.
const CACHE_GB: &str = "0.25";
/// The journal grows as it is needed, instead of 300 MB for every server in advance.
const JOURNAL: &str = "log=(prealloc=false,file_max=16MB)";

/// How one server is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Whether it is to be a member of a replica set. If not, it has no oplog: testledger refuses such a server.
    pub replica_set: bool,
    /// The size of its oplog, in MB (from 1). Of no meaning without a replica set.
    pub oplog_mb: u32,
    /// How often it takes a checkpoint, in seconds. What the last checkpoint does not hold is not cut from the oplog.
    pub checkpoint_s: u32,
    /// More server parameters (`--setParameter`), as names and values.
    pub parameters: Vec<(String, String)>,
}

impl NodeOptions {
    /// A member of a replica set that is yet to be initiated.
    pub fn member() -> Self {
        Self { replica_set: true, oplog_mb: OPLOG_MB, checkpoint_s: CHECKPOINT_S, parameters: vec![] }
    }

    /// A server without a replica set.
    pub fn standalone() -> Self {
        Self { replica_set: false, ..Self::member() }
    }

    /// One more server parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// All arguments but those that name files.
    pub(crate) fn arguments(&self, place: SocketAddrV4) -> Vec<String> {
        let mut arguments: Vec<String> = ["--nounixsocket", "--logappend"].map(str::to_owned).into();
        let mut option = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        option("--bind_ip", &place.ip().to_string());
        option("--port", &place.port().to_string());
        option("--wiredTigerCacheSizeGB", CACHE_GB);
        option("--wiredTigerEngineConfigString", JOURNAL);
        // No compression: what this server's version gets wrong in it (CVE-2025-14847) cannot be reached.
        option("--networkMessageCompressors", "disabled");
        option("--setParameter", "diagnosticDataCollectionEnabled=false");
        option("--syncdelay", &self.checkpoint_s.to_string());
        if self.replica_set {
            option("--replSet", REPLICA_SET);
            option("--oplogSize", &self.oplog_mb.to_string());
        }
        for (name, value) in &self.parameters {
            option("--setParameter", &format!("{name}={value}"));
        }
        arguments
    }
}
