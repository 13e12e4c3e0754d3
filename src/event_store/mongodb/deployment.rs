//! Deployments that the log cannot rest on are refused, each with what mends it.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;

use crate::event_store::StoreError;
use crate::event_store::mongodb::connect::MongoStore;
use crate::event_store::mongodb::errors::{self, codes};

/// The oldest server this program knows to work: its first number.
const OLDEST_MAJOR: u64 = 6;
/// How long a server may take to say what it is, where no primary answers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// So many servers of an address are asked then.
const PROBED_HOSTS: usize = 3;

const NOT_JOURNALED: &str = "in this replica set a majority does not journal before it acknowledges; set \
     writeConcernMajorityJournalDefault to true (rs.reconfig), or acknowledged results could be lost";

impl MongoStore {
    /// Whether this is a replica set whose majority keeps what it acknowledges.
    ///
    /// # Errors
    /// [`StoreError::Refused`], with the mend; [`StoreError::Unavailable`] if no primary answers.
    pub(super) async fn check_deployment(&self) -> Result<(), StoreError> {
        let hello = self.command(doc! { "hello": 1 }).await?;
        if hello.get_str("msg").ok() == Some("isdbgrid") {
            return Err(self.errors.refused("sharded clusters are not supported; name a replica set"));
        }
        if !hello.contains_key("setName") {
            return Err(self.errors.refused(errors::STANDALONE));
        }
        let build = self.command(doc! { "buildInfo": 1 }).await?;
        let version = build.get_str("version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        if major.is_none_or(|major| major < OLDEST_MAJOR) {
            let why = format!("MongoDB {version} is too old; use {OLDEST_MAJOR}.0 or newer, in its latest patch");
            return Err(self.errors.refused(&why));
        }
        self.check_majority_is_journaled().await
    }

    /// Where it is not, a majority could acknowledge what a power cut takes away again.
    async fn check_majority_is_journaled(&self) -> Result<(), StoreError> {
        let (client, question) = (self.client().clone(), doc! { "replSetGetConfig": 1 });
        let answer = self.attempt(async move { client.database("admin").run_command(question).await }).await?;
        match answer {
            Ok(answer) => {
                let config = answer.get_document("config").ok();
                let journaled = config.and_then(|config| config.get_bool("writeConcernMajorityJournalDefault").ok());
                if journaled == Some(false) {
                    return Err(self.errors.refused(NOT_JOURNALED));
                }
                Ok(())
            }
            // A user of one database may not ask; the setting is on unless somebody turned it off.
            Err(error) if errors::code_of(&error) == Some(codes::UNAUTHORIZED) => Ok(()),
            Err(error) => Err(self.errors.store(&error)),
        }
    }

    /// Why no primary answers, if a server of the address can tell: it belongs to no replica set, or to another one. The
    /// driver passes over such a server in silence.
    pub(super) async fn why_unavailable(&self, options: &ClientOptions) -> Option<StoreError> {
        for host in options.hosts.iter().take(PROBED_HOSTS) {
            let mut alone = options.clone();
            alone.hosts = vec![host.clone()];
            alone.direct_connection = Some(true);
            alone.repl_set_name = None;
            alone.credential = None;
            alone.server_selection_timeout = Some(PROBE_TIMEOUT);
            alone.min_pool_size = None;
            let Ok(Ok(hello)) = self.attempt(hello(alone)).await else { continue };
            return match hello.get_str("setName") {
                Err(_) => Some(self.errors.refused(errors::STANDALONE)),
                Ok(name) if options.repl_set_name.as_deref().is_some_and(|wanted| wanted != name) => {
                    let why = format!("its replica set is called `{name}`: write replicaSet={name} in the address");
                    Some(self.errors.refused(&why))
                }
                Ok(_) => None,
            };
        }
        None
    }
}

async fn hello(options: ClientOptions) -> mongodb::error::Result<Document> {
    let client = Client::with_options(options)?;
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
    client.shutdown().immediate(true).await;
    hello
}
