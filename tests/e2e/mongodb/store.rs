//! A database of its own on a MongoDB server, seen from outside the program.

use std::path::Path;

use futures::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Database};
use test_servers::FreshDatabase;

/// A database that the program knows by its address.
pub struct Store {
    address: String,
    name: String,
    _fresh: Option<FreshDatabase>,
}

impl Store {
    pub fn new(_: &Path) -> Self {
        let fresh = wait_for(test_servers::fresh_database()).unwrap();
        Self { address: fresh.uri().to_owned(), name: fresh.name().to_owned(), _fresh: Some(fresh) }
    }

    /// The database at an address.
    pub fn at(address: &str, name: &str) -> Self {
        Self { address: address.to_owned(), name: name.to_owned(), _fresh: None }
    }

    /// What names it.
    pub fn setting(&self) -> Option<&str> {
        Some(&self.address)
    }

    /// Whether a log was made.
    pub fn has_log(&self) -> bool {
        self.ask(async |database| {
            let pages = database.collection::<Document>("pages");
            pages.find_one(doc! { "_id": 0 }).await.unwrap().is_some()
        })
    }

    /// Whether nothing was made at all.
    pub fn is_untouched(&self) -> bool {
        self.ask(async |database| database.list_collection_names().await.unwrap().is_empty())
    }

    /// Everything it holds, with names.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        self.ask(async |database| {
            let mut all = vec![];
            for name in database.list_collection_names().await.unwrap() {
                for document in documents(&database, &name).await {
                    all.push((format!("{name} {:?}", document.get("_id")), document.into_bytes()));
                }
            }
            all
        })
    }

    /// Puts another word in the place of one as long, in every commit, behind the program's back. Says in how many.
    pub fn overwrite(&self, word: &str, other: &str) -> usize {
        assert_eq!(word.len(), other.len(), "the lengths in the documents stay right");
        self.ask(async |database| {
            let mut changed = 0;
            for document in documents(&database, "commits").await {
                let key = document.get("_id").unwrap().unwrap().as_str().unwrap().to_owned();
                let bytes = document.into_bytes();
                let replaced = replace(&bytes, word.as_bytes(), other.as_bytes());
                if replaced != bytes {
                    let replaced = RawDocumentBuf::from_bytes(replaced).unwrap();
                    let commits = database.collection::<RawDocumentBuf>("commits");
                    commits.replace_one(doc! { "_id": key }, replaced).await.unwrap();
                    changed += 1;
                }
            }
            changed
        })
    }

    /// Gives one stored view of an execution another label, behind the program's back.
    pub fn change_a_view(&self) {
        self.ask(async |database| {
            let checkpoints = database.collection::<Document>("view_checkpoints");
            let checkpoint = checkpoints.find_one(doc! { "_id": "executions" }).await.unwrap().unwrap();
            let views = database.collection::<Document>(checkpoint.get_str("collection").unwrap());
            let change = doc! { "$set": { "actor": "another" } };
            assert_eq!(views.update_one(doc! { "parent_id": null }, change).await.unwrap().modified_count, 1);
        });
    }

    /// Does something with the database, through a client of its own.
    pub fn ask<T>(&self, work: impl AsyncFnOnce(Database) -> T) -> T {
        wait_for(async {
            let client = Client::with_uri_str(&self.address).await.unwrap();
            let answer = work(client.database(&self.name)).await;
            client.shutdown().immediate(true).await;
            answer
        })
    }
}

async fn documents(database: &Database, collection: &str) -> Vec<RawDocumentBuf> {
    let found = database.collection::<RawDocumentBuf>(collection).find(doc! {}).await.unwrap();
    found.try_collect().await.unwrap()
}

fn replace(bytes: &[u8], word: &[u8], other: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(word.len()) {
        if &bytes[at..at + word.len()] == word {
            replaced[at..at + word.len()].copy_from_slice(other);
        }
    }
    replaced
}

/// Waits for something asynchronous, in a test that is not.
pub fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
