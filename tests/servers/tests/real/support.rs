//! What these tests share: processes looked for in `/proc`, and a client's first steps.

use std::fs;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, Collection};

/// A guard against hanging, far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until it is so.
#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Whether this process has not ended. One that nobody has waited for yet has.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// The processes that have these arguments, one after the other.
pub fn with_arguments(wanted: &[&str]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        arguments.windows(wanted.len()).any(|some| some.iter().zip(wanted).all(|(one, other)| *one == other.as_bytes()))
    };
    pids.filter(|pid| has(pid) && lives(*pid)).collect()
}

/// The port in an address of one server.
pub fn port_of(uri: &str) -> String {
    let place = uri.strip_prefix("mongodb://127.0.0.1:").unwrap_or_else(|| panic!("no address: {uri}"));
    place.split('/').next().unwrap().to_owned()
}

/// A collection whose writes are acknowledged by a majority.
pub async fn collection(uri: &str) -> Collection<Document> {
    let client = Client::with_uri_str(uri).await.unwrap();
    let options = mongodb::options::CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
    client.default_database().unwrap().collection_with_options("facts", options)
}

/// Writes one document, and reads how many there are.
pub async fn write_and_count(facts: &Collection<Document>) -> u64 {
    facts.insert_one(doc! { "fact": true }).await.unwrap();
    facts.count_documents(doc! {}).await.unwrap()
}
