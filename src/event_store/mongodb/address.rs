//! The address of a database: what it leaves open is set here, and what cannot be read is refused without its secrets.

use std::time::Duration;

use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria};

use crate::event_store::StoreError;
use crate::event_store::mongodb::connect::durable;
use crate::event_store::mongodb::errors::{Translator, words};

/// How long a primary is looked for before a call gives up.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take; with the pause between two heartbeats it bounds how long a dead primary is believed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The pause between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// So many connections at the most.
const MAX_CONNECTIONS: u32 = 32;
/// So many are kept ready: the driver sets up no more than two at a time, so a burst on a cold pool waits.
const READY_CONNECTIONS: u32 = 4;

/// What is said of an address without a database.
const NO_DATABASE: &str =
    "name the database in the address, such as mongodb://127.0.0.1:27017/testledger?replicaSet=rs0";
/// What an address looks like.
const LIKE: &str = "an address is mongodb://HOST:PORT/DATABASE?replicaSet=NAME";
/// What is said of a user or a password that cannot be told from the rest.
const ENCODE: &str = "percent-encode what has a meaning in addresses (such as : / ? # @ %) in user and password";
/// Options with secrets in them: what the driver says of an address that has them is not repeated.
const SECRET_OPTIONS: [&str; 2] = ["authmechanismproperties=", "tlscertificatekeyfilepassword="];

/// An address that can be used.
pub struct MongoAddress {
    pub(super) options: ClientOptions,
    pub(super) database: String,
    pub(super) errors: Translator,
}

impl MongoAddress {
    /// Reads `mongodb://HOST:PORT/DATABASE?replicaSet=…`.
    ///
    /// # Errors
    /// [`StoreError::Refused`], with the mend and without what is secret.
    pub async fn parse(address: &str) -> Result<Self, StoreError> {
        let options = options(address).await?;
        let database = options.default_database.clone().unwrap_or_default();
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let name = format!("mongodb://{}/{database}", hosts.join(","));
        let errors = Translator::new(&name, options.credential.is_some());
        if database.is_empty() { Err(errors.refused(NO_DATABASE)) } else { Ok(Self { options, database, errors }) }
    }
}

/// The options of an address. What it leaves open is set here; what would weaken the log is set in any case.
async fn options(address: &str) -> Result<ClientOptions, StoreError> {
    let bare = without_user(address).ok_or_else(|| refused(ENCODE))?;
    let mut options = match ClientOptions::parse(address).await {
        Ok(options) => options,
        Err(_) => return Err(unusable(&bare).await),
    };
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

/// The address without user and password; none if they cannot be told from the rest, so that a piece of a password would
/// be taken for a host or a database.
fn without_user(address: &str) -> Option<String> {
    let Some((scheme, rest)) = address.split_once("://") else { return Some(address.to_owned()) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((user, hosts)) = authority.rsplit_once('@') else {
        return (!tail.contains('@')).then(|| address.to_owned());
    };
    let path = tail.split('?').next().unwrap_or_default();
    let is_encoded = !user.contains('@') && user.matches(':').count() <= 1 && has_whole_escapes(user);
    (is_encoded && !path.contains('@')).then(|| format!("{scheme}://{hosts}{tail}"))
}

/// Whether two hexadecimal digits follow every `%`.
fn has_whole_escapes(text: &str) -> bool {
    let is_escape = |part: &str| part.get(..2).is_some_and(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.split('%').skip(1).all(is_escape)
}

/// Why an address cannot be read: in the driver's words where it is without a user as wrong as with one, because those
/// may repeat the address, and with it the password.
async fn unusable(bare: &str) -> StoreError {
    let lower = bare.to_lowercase();
    if SECRET_OPTIONS.iter().any(|option| lower.contains(option)) {
        return refused(&format!("look at its options; {LIKE}"));
    }
    match ClientOptions::parse(bare).await {
        Ok(_) => refused(ENCODE),
        Err(error) => refused(&format!("{}; {LIKE}", words(&error))),
    }
}

fn refused(why: &str) -> StoreError {
    StoreError::Refused(format!("the address of the store cannot be read: {why}"))
}
