//! Everything that a log stores, as JSON by key, and the ways to change it that are the same in every store.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde_json::Value;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{LogId, StreamId};
use testledger_schemas::page::{Page, PageEntry};

/// What a store holds, free to be changed behind the program's back.
#[derive(Clone)]
pub struct Stored {
    /// By primary key; a commit holds its id as well.
    pub commits: BTreeMap<String, Value>,
    /// By primary key; a page holds its number as well.
    pub pages: BTreeMap<u64, Value>,
    /// By primary key.
    pub artifacts: BTreeMap<String, Vec<u8>>,
}

/// A value as the program writes it; none if that would be something else.
pub fn typed<T: serde::Serialize + DeserializeOwned>(value: &Value) -> Option<T> {
    let read: T = serde_json::from_value(value.clone()).ok()?;
    serde_json::to_value(&read).is_ok_and(|written| written == *value).then_some(read)
}

/// The order of the fields is the program's own where this is a commit or a page: only the change itself may be found.
pub enum Shape<T> {
    Typed(T),
    Other(Value),
}

impl<T: serde::Serialize + DeserializeOwned> Shape<T> {
    pub fn of(value: &Value) -> Self {
        typed(value).map_or_else(|| Self::Other(value.clone()), Self::Typed)
    }
}

impl Stored {
    /// The key of a commit in the middle of the log whose second event is a step's start.
    pub fn with_step(&self) -> String {
        let is_one = |commit: &Value| commit.pointer("/events/1/type").is_some_and(|name| name == "StepStarted");
        self.commits.iter().find(|(_, commit)| is_one(commit)).unwrap().0.clone()
    }

    /// The key of a commit in the middle of the log with two events.
    pub fn with_two(&self) -> String {
        let two = self.commits.iter().filter(|(_, commit)| commit["events"].as_array().unwrap().len() == 2);
        two.map(|(key, _)| key.clone()).nth(20).unwrap()
    }

    /// Changes the commit with a key.
    pub fn edit(&mut self, key: &str, change: impl FnOnce(&mut Value)) {
        let commit = self.commits.get_mut(key).unwrap();
        let before = commit.clone();
        change(commit);
        assert_ne!(before, *commit);
    }

    pub fn commit(&self, key: &str) -> Commit {
        serde_json::from_value(self.commits[key].clone()).unwrap()
    }

    pub fn last_commit(&self) -> Commit {
        self.commit(self.commits.keys().next_back().unwrap())
    }

    /// Puts a commit under its own id.
    pub fn put_commit(&mut self, commit: &Commit) {
        self.commits.insert(commit.id.to_string(), serde_json::to_value(commit).unwrap());
    }

    pub fn page(&self, number: u64) -> Page {
        serde_json::from_value(self.pages[&number].clone()).unwrap()
    }

    pub fn all_pages(&self) -> Vec<Page> {
        self.pages.keys().map(|number| self.page(*number)).collect()
    }

    /// Puts a page under its own number.
    pub fn put_page(&mut self, page: &Page) {
        self.pages.insert(page.number, serde_json::to_value(page).unwrap());
    }

    /// Changes a page, which may get another number.
    pub fn edit_page(&mut self, number: u64, hash_again: bool, change: impl FnOnce(&mut Page)) {
        let mut page = self.page(number);
        change(&mut page);
        if hash_again {
            page.hash = page.computed_hash();
        }
        self.pages.remove(&number);
        self.put_page(&page);
    }
}

pub fn set(commit: &mut Value, pointer: &str, value: Value) {
    *commit.pointer_mut(pointer).unwrap() = value;
}

pub fn add(value: &mut Value, pointer: &str, key: &str, added: Value) {
    value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(key.into(), added);
}

pub fn take(value: &mut Value, pointer: &str, key: &str) {
    assert!(value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).is_some());
}

pub fn events(commit: &mut Value) -> &mut Vec<Value> {
    commit.pointer_mut("/events").unwrap().as_array_mut().unwrap()
}

/// A change that a commit's own hash does not tell.
fn reworded(stored: &Stored) -> Commit {
    let mut commit = stored.commit(&stored.with_step());
    commit.actor = "eve".into();
    commit.hash = commit.computed_hash().unwrap();
    assert_eq!(commit.check(), Ok(()));
    commit
}

pub fn edit_and_hash(stored: &mut Stored) {
    let commit = reworded(stored);
    stored.put_commit(&commit);
}

pub fn edit_one_level_up(stored: &mut Stored) {
    let commit = reworded(stored);
    stored.put_commit(&commit);
    let pages = stored.all_pages();
    let page = pages.iter().find(|page| page.entries.iter().any(|it| it.commit == commit.id)).unwrap();
    stored.edit_page(page.number, true, |page| {
        page.entries.iter_mut().filter(|it| it.commit == commit.id).for_each(|it| it.hash = commit.hash);
    });
}

/// The last page's commits, where the page stays.
pub fn delete_last_commits(stored: &mut Stored) {
    let last = stored.all_pages().pop().unwrap();
    last.entries.iter().for_each(|entry| drop(stored.commits.remove(&entry.commit.to_string())));
}

/// A commit that is whole in itself and continues its stream.
pub fn continuing(last: &Commit) -> Commit {
    let mut next = last.clone();
    next.id.number += 1;
    next.first_version = last.last_version() + 1;
    next.prev_hash = last.hash;
    next.hash = next.computed_hash().unwrap();
    assert_eq!(next.check(), Ok(()));
    next
}

pub fn swap_commits(stored: &mut Stored) {
    let keys: Vec<String> = stored.commits.keys().skip(3).take(2).cloned().collect();
    let (first, second) = (stored.commits[&keys[0]].clone(), stored.commits[&keys[1]].clone());
    stored.commits.insert(keys[0].clone(), second);
    stored.commits.insert(keys[1].clone(), first);
}

pub fn renumber_commit(stored: &mut Stored, within: bool) {
    let (key, value) = stored.commits.pop_last().unwrap();
    let mut id: CommitId = key.parse().unwrap();
    id.number += 5;
    stored.commits.insert(id.to_string(), value);
    if within {
        stored.edit(&id.to_string(), |commit| set(commit, "/_id", id.to_string().into()));
    }
}

/// Two commits of one page change places.
pub fn reorder_page(stored: &mut Stored) {
    let pages = stored.all_pages();
    let page = pages.iter().find(|page| page.entries.len() > 1 && page.number > 3).unwrap();
    stored.edit_page(page.number, true, |page| page.entries.swap(0, 1));
}

pub fn change_log_id(stored: &mut Stored) {
    stored.edit_page(0, true, |page| {
        let header = page.header.as_mut().unwrap();
        header.log_id = LogId(uuid::Uuid::from_u128(7));
        page.prev_hash = Page::origin(header.log_id);
    });
}

/// A page that continues the last one in good order and places a commit again.
pub fn place_twice(stored: &mut Stored) {
    let last = stored.all_pages().pop().unwrap();
    let key = stored.commits.keys().nth(5).unwrap();
    let again = Page::following(&last, vec![PageEntry::of(&stored.commit(key))], None, false);
    stored.put_page(&again);
}

/// Cuts the last pages, and with them what they name, where that is wanted. What is left is a log as it once was.
pub fn cut_pages(stored: &mut Stored, count: usize, with_commits: bool) {
    for page in stored.all_pages().iter().rev().take(count) {
        stored.pages.remove(&page.number);
        for entry in page.entries.iter().filter(|_| with_commits) {
            assert!(stored.commits.remove(&entry.commit.to_string()).is_some());
        }
    }
}

/// Writes these commits' hashes into their pages and computes the hashes of all pages anew.
fn chain_pages(stored: &mut Stored, hashes: &HashMap<CommitId, Hash>) {
    let mut last: Option<Page> = None;
    for mut page in stored.all_pages() {
        for entry in &mut page.entries {
            entry.hash = hashes.get(&entry.commit).copied().unwrap_or(entry.hash);
        }
        page.prev_hash = last.as_ref().map_or(page.prev_hash, |last| last.hash);
        page.hash = page.computed_hash();
        stored.put_page(&page);
        last = Some(page);
    }
}

/// All pages agree with the edited commit, but its stream's next commit does not.
pub fn edit_and_hash_pages(stored: &mut Stored) {
    let commit = reworded(stored);
    stored.put_commit(&commit);
    chain_pages(stored, &HashMap::from([(commit.id, commit.hash)]));
}

/// The owner writes another history: one commit reworded, every hash after it computed anew.
pub fn rewrite_all(stored: &mut Stored) {
    let reworded = reworded(stored).id;
    let mut heads: HashMap<StreamId, StreamHead> = HashMap::new();
    let mut hashes = HashMap::new();
    for key in stored.commits.keys().cloned().collect::<Vec<_>>() {
        let mut commit = stored.commit(&key);
        let head = heads.get(&commit.id.stream).copied().unwrap_or(StreamHead::EMPTY);
        if commit.id == reworded {
            commit.actor = "eve".into();
        }
        commit.prev_hash = head.hash;
        commit.hash = commit.computed_hash().unwrap();
        heads.insert(commit.id.stream, commit.head());
        hashes.insert(commit.id, commit.hash);
        stored.put_commit(&commit);
    }
    chain_pages(stored, &hashes);
}
