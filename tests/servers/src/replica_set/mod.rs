//! A replica set of one server or three, which can be broken in the ways that replica sets break.

mod admin;
mod oplog;
mod options;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use mongodb::bson::{Document, doc};

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::node::Node;

pub(crate) use admin::{initiate, run, wait_for_alone};
pub use options::ReplicaSetOptions;

/// The name of every replica set here.
pub const REPLICA_SET: &str = "rs0";
/// How long it may take until there is a primary, and until all members are in order: an election takes two to five
/// seconds, the first copy of the data three.
const ELECTION_PATIENCE: Duration = Duration::from_secs(60);
/// How long one server may take for an answer; a frozen one gives none.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long a write may take until a majority has it.
const MAJORITY_PATIENCE: Duration = Duration::from_secs(5);
/// How long a primary that stepped down does not stand again, in seconds: alone it has nobody else to wait for.
const STEPPED_DOWN_S: i32 = 10;
const STEPPED_DOWN_ALONE_S: i32 = 1;
/// What a primary answers that finds no secondary to follow it (`ExceededTimeLimit` in the server's list of error codes).
const EXCEEDED_TIME_LIMIT: i32 = 262;

/// Servers that are a replica set. Dropped, they are killed; so they are when this process dies, even by SIGKILL.
#[derive(Debug)]
pub struct ReplicaSet {
    nodes: Vec<Node>,
}

impl ReplicaSet {
    /// Starts one server or three, and waits until all are in order and a primary takes writes.
    ///
    /// # Errors
    /// There is no `mongod`, or it does not start, or no primary comes forth.
    pub async fn start(nodes: usize) -> Result<Self> {
        Self::start_with(ReplicaSetOptions::new(nodes)).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// There is no `mongod`, or it does not start, or no primary comes forth.
    pub async fn start_with(options: ReplicaSetOptions) -> Result<Self> {
        let folder = Arc::new(Folder::new()?);
        let start = |at| {
            let folder = folder.clone();
            let node = options.node.clone();
            async move {
                let cable = options.network.map(|network| network.cable(at)).transpose()?;
                Node::start_in(folder, &format!("node-{at}"), node, cable).await
            }
        };
        let set = Self { nodes: try_join_all((0..options.nodes).map(start)).await? };
        let places: Vec<SocketAddrV4> = set.nodes.iter().map(Node::place).collect();
        initiate(&places, options.journaled_majority).await?;
        set.settle().await?;
        Ok(set)
    }

    /// The servers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The address of a database.
    pub fn uri(&self, database: &str) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.place().to_string()).collect();
        format!("mongodb://{}/{database}?replicaSet={REPLICA_SET}", hosts.join(","))
    }

    /// Which node is the primary: waits until there is one and a majority acknowledges a write to it.
    ///
    /// # Errors
    /// No primary comes forth.
    pub async fn primary(&self) -> Result<usize> {
        let deadline = Deadline::after(ELECTION_PATIENCE);
        loop {
            match self.elected().await {
                Some(primary) if admin::takes_writes(self.nodes[primary].place(), MAJORITY_PATIENCE).await => {
                    return Ok(primary);
                }
                Some(_) | None => deadline.pause("a primary that takes writes").await?,
            }
        }
    }

    /// Waits until there is a primary that takes writes and every server that runs is in order, with a copy of the data.
    /// A frozen server never is, nor one that is cut off.
    ///
    /// # Errors
    /// They do not come in order.
    pub async fn settle(&self) -> Result<()> {
        let deadline = Deadline::after(ELECTION_PATIENCE);
        self.primary().await?;
        while !self.all_in_order().await {
            deadline.pause("members that are all in order").await?;
        }
        Ok(())
    }

    /// Kills the primary (SIGKILL) and says which node it was. Of three, another is elected: wait with
    /// [`ReplicaSet::primary`].
    ///
    /// # Errors
    /// There is no primary.
    pub async fn kill_primary(&mut self) -> Result<usize> {
        let primary = self.primary().await?;
        self.nodes[primary].kill()?;
        Ok(primary)
    }

    /// Kills a node (SIGKILL).
    ///
    /// # Errors
    /// There is no such node, or it cannot be waited for.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.kill()
    }

    /// Starts a node again with its data, on its port; kills it first if it runs.
    ///
    /// # Errors
    /// There is no such node, or it does not start.
    pub async fn restart(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.restart().await
    }

    /// Stops a node where it stands (SIGSTOP).
    ///
    /// # Errors
    /// There is no such node, or it was killed.
    pub fn freeze(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.freeze()
    }

    /// Lets a frozen node go on (SIGCONT).
    ///
    /// # Errors
    /// There is no such node, or it was killed.
    pub fn thaw(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.thaw()
    }

    /// Cuts a node off from the others and from us: what is sent is lost, and no connection is told.
    ///
    /// # Errors
    /// There is no such node, or the set is not [within](ReplicaSetOptions::within) a network of its own.
    pub fn cut_off(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.cut_off()
    }

    /// Connects a node again that was cut off.
    ///
    /// # Errors
    /// There is no such node, or the set is not [within](ReplicaSetOptions::within) a network of its own.
    pub fn reconnect(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.reconnect()
    }

    /// Makes the primary step down and says which node it was. Of three, another is elected; one alone is primary again
    /// a second later. A server whose secondaries do not catch up in time stays primary (on a busy machine they may be
    /// seconds behind) and is asked again.
    ///
    /// # Errors
    /// There is no primary, or it refuses, or nobody ever catches up.
    pub async fn step_down(&self) -> Result<usize> {
        let deadline = Deadline::after(ELECTION_PATIENCE);
        let command = if self.nodes.len() == 1 {
            doc! { "replSetStepDown": STEPPED_DOWN_ALONE_S, "secondaryCatchUpPeriodSecs": 0, "force": true }
        } else {
            doc! { "replSetStepDown": STEPPED_DOWN_S, "secondaryCatchUpPeriodSecs": STEPPED_DOWN_S / 2 }
        };
        loop {
            let primary = self.primary().await?;
            match run(self.nodes[primary].place(), command.clone(), MAJORITY_PATIENCE * 2).await {
                Ok(_) => return Ok(primary),
                Err(refused) if refused.code() == Some(EXCEEDED_TIME_LIMIT) => {
                    deadline.pause("a secondary that catches up, so that the primary can step down").await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn node_mut(&mut self, node: usize) -> Result<&mut Node> {
        let nodes = self.nodes.len();
        self.nodes.get_mut(node).ok_or_else(|| Error::Refused(format!("there are {nodes} nodes, and no {node}")))
    }

    /// What every server that runs answers; `None` for one that was killed or does not answer.
    async fn ask_all(&self, command: &Document) -> Vec<Option<Document>> {
        let ask = |node: &Node| {
            let place = node.pid().map(|_| node.place());
            async move { run(place?, command.clone(), ANSWER_PATIENCE).await.ok() }
        };
        join_all(self.nodes.iter().map(ask)).await
    }

    /// Who says that it is the primary. A primary that was frozen or cut off may believe so still: the one of the latest election is.
    async fn elected(&self) -> Option<usize> {
        let answers = self.ask_all(&doc! { "hello": 1 }).await;
        let primaries = answers.iter().enumerate().filter_map(|(at, answer)| {
            let answer = answer.as_ref()?;
            let is_primary = answer.get_bool("isWritablePrimary").ok()?;
            is_primary.then(|| answer.get_object_id("electionId").ok().map(|election| (election, at)))?
        });
        primaries.max().map(|(_, at)| at)
    }

    async fn all_in_order(&self) -> bool {
        let answers = self.ask_all(&doc! { "hello": 1 }).await;
        let is = |answer: &Document, what: &str| answer.get_bool(what).unwrap_or_default();
        let in_order = |answer: &Document| is(answer, "isWritablePrimary") || is(answer, "secondary");
        let mut running = self.nodes.iter().zip(&answers).filter(|(node, _)| node.pid().is_some());
        running.all(|(_, answer)| answer.as_ref().is_some_and(in_order))
    }
}
