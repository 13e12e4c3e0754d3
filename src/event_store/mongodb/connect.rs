//! The way to a database: its address, what of a deployment is refused, and the collections with their guarantees.

use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};

use crate::event_store::StoreError;
use crate::event_store::mongodb::errors::{self, Translator, codes};

/// The oldest server this program knows to work: its first number.
const OLDEST_MAJOR: u64 = 6;
/// How long a primary is looked for before a call gives up.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take; with the pause between two heartbeats it bounds how long a dead primary is believed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The pause between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long the server waits for the majority before it says that it does not know.
pub(super) const MAJORITY_TIMEOUT: Duration = Duration::from_secs(8);
/// So many connections at the most.
const MAX_CONNECTIONS: u32 = 32;
/// So many are kept ready: the driver sets up no more than two at a time, so a burst on a cold pool waits.
const READY_CONNECTIONS: u32 = 4;
/// How long one call may take until its outcome counts as unknown.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// What is said of an address without a database.
const NO_DATABASE: &str =
    "name the database in the address, such as mongodb://127.0.0.1:27017/testledger?replicaSet=rs0";

/// A database on a replica set that a log may live in.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    pub(super) errors: Translator,
}

/// An address that can be used.
pub struct MongoAddress {
    options: ClientOptions,
    database: String,
    errors: Translator,
}

impl MongoAddress {
    /// Reads `mongodb://HOST:PORT/DATABASE?replicaSet=…`.
    ///
    /// # Errors
    /// [`StoreError::Refused`], with the mend.
    pub async fn parse(address: &str) -> Result<Self, StoreError> {
        let options = parse(address).await?;
        let database = options.default_database.clone().unwrap_or_default();
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let errors = Translator::new(&format!("mongodb://{}/{database}", hosts.join(",")));
        if database.is_empty() { Err(errors.refused(NO_DATABASE)) } else { Ok(Self { options, database, errors }) }
    }
}

impl MongoStore {
    /// Connects to the database of an address.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a server or rights that will not do, each with the mend;
    /// [`StoreError::Unavailable`] if no primary answers.
    pub async fn connect(address: MongoAddress) -> Result<Self, StoreError> {
        let MongoAddress { options, database, errors } = address;
        let client = Client::with_options(options).map_err(|error| errors.store(&error))?;
        let store = Self { database: client.database(&database), client, errors };
        store.check_deployment().await?;
        Ok(store)
    }

    /// The database, for views that live beside the log.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// The client of the database.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A collection whose writes are durable on a majority, and whose reads see nothing else.
    pub(super) fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        let options = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(durable())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        self.database.collection_with_options(name, options)
    }

    /// Does something with the driver in a task of its own, because its futures must not be dropped half-way; waits no
    /// longer than [`ANSWER_TIMEOUT`] for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.attempt(work).await?.map_err(|error| self.errors.store(&error))
    }

    /// As [`Self::ask`], with the driver's own error where there is one.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, tokio::spawn(work)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.errors.unavailable(&format!("a call did not end: {error}"))),
            Err(_) => Err(self.errors.unavailable(&format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    async fn check_deployment(&self) -> Result<(), StoreError> {
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
        let (client, question) = (self.client.clone(), doc! { "replSetGetConfig": 1 });
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

    async fn command(&self, command: Document) -> Result<Document, StoreError> {
        let database = self.database.clone();
        self.ask(async move { database.run_command(command).await }).await
    }
}

const NOT_JOURNALED: &str = "in this replica set a majority does not journal before it acknowledges; set \
     writeConcernMajorityJournalDefault to true (rs.reconfig), or acknowledged results could be lost";

/// Durable on a majority of the members, in their journals.
pub(super) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY_TIMEOUT).build()
}

/// The options of an address. What it leaves open is set here; what would weaken the log is set in any case.
async fn parse(address: &str) -> Result<ClientOptions, StoreError> {
    let parsed = ClientOptions::parse(address).await;
    let mut options = parsed.map_err(|error| StoreError::Refused(unusable(address, &error)))?;
    options.app_name.get_or_insert_with(|| "testledger".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.max_pool_size.get_or_insert(MAX_CONNECTIONS);
    options.min_pool_size.get_or_insert(READY_CONNECTIONS);
    options.retry_writes = Some(true);
    options.retry_reads = Some(true);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.write_concern = Some(durable());
    Ok(options)
}

/// The driver's words may repeat the address, and with it the password: then ours have to do.
fn unusable(address: &str, error: &mongodb::error::Error) -> String {
    let said = error.to_string();
    let user = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    let secrets = user.map(|user| user.split(':').collect::<Vec<_>>()).unwrap_or_default();
    if secrets.iter().any(|secret| !secret.is_empty() && said.contains(secret)) {
        return "the address of the store cannot be read; percent-encode user and password".to_owned();
    }
    format!("the address of the store cannot be read: {said}")
}
