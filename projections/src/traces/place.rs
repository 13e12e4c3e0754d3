//! Where items are: in the head while they are few, in partitions from then on; and where their texts went.

use std::collections::BTreeMap;

use testledger_schemas::EventId;
use testledger_schemas::event::ExecutionKind;

use super::head::TraceHead;
use super::item::{ItemChange, ItemKind, TraceItem};
use super::key::TraceKey;
use super::view::{CommitTexts, ITEMS_PER_PARTITION, Span, TextIndex, TracePartition};
use super::{Echoes, TraceEcho};

impl TraceHead {
    /// Takes in new items at the end. When they are more than the threshold, all of them go to partitions, also in the
    /// middle of an execution. Returns the number of the first.
    pub(super) fn append(&mut self, items: Vec<TraceItem>, threshold: u64, echoes: &mut Echoes) -> u64 {
        let first = self.step_count;
        self.step_count += items.len() as u64;
        let numbered = (first..).zip(items).map(|(index, item)| TraceItem { index, ..item });
        self.embedded_steps.extend(numbered);
        self.use_embedded_steps = self.use_embedded_steps && self.step_count <= threshold;
        if !self.use_embedded_steps {
            let moving = std::mem::take(&mut self.embedded_steps);
            self.partition_count = self.step_count.div_ceil(ITEMS_PER_PARTITION);
            self.tell_partitions(moving, echoes);
        }
        first
    }

    fn tell_partitions(&self, items: Vec<TraceItem>, echoes: &mut Echoes) {
        let mut texts = BTreeMap::new();
        items.iter().for_each(|item| note_texts(item, &mut texts));
        let of_index = |(commit, texts)| (TraceKey::index_of(self.execution_id, commit), TraceEcho::Remember(texts));
        echoes.extend(texts.into_iter().map(of_index));
        let mut partitions: BTreeMap<TraceKey, Vec<TraceItem>> = BTreeMap::new();
        for item in items {
            partitions.entry(TraceKey::partition_of(self.execution_id, item.index)).or_default().push(item);
        }
        echoes.extend(partitions.into_iter().map(|(key, items)| (key, TraceEcho::Items(items))));
    }

    /// Changes an item, or tells its partition to.
    pub(super) fn change(&mut self, index: u64, change: ItemChange, echoes: &mut Echoes) {
        if self.use_embedded_steps {
            let found = usize::try_from(index).ok().and_then(|index| self.embedded_steps.get_mut(index));
            found.into_iter().for_each(|item| item.change(&change));
            return;
        }
        let commit = match &change {
            ItemChange::Ended(end) => Some(end.outputs.commit),
            ItemChange::Comment(comment) => Some(comment.commit),
            ItemChange::Case(..) | ItemChange::Artifact(_) | ItemChange::Erase(_) => None,
        };
        if let Some(commit) = commit {
            let texts = CommitTexts { commit, added: None, changed: Some(Span { first: index, last: index }) };
            echoes.push((TraceKey::index_of(self.execution_id, commit), TraceEcho::Remember(texts)));
        }
        let key = TraceKey::partition_of(self.execution_id, index);
        echoes.push((key, TraceEcho::Change { index, change }));
    }

    /// Takes the texts of an event from the items, wherever they are. Those of a suite have none of its own events.
    pub(super) fn erase_items(&mut self, commit: u64, event: EventId, echoes: &mut Echoes) {
        self.embedded_steps.iter_mut().for_each(|item| item.change(&ItemChange::Erase(event)));
        if !self.use_embedded_steps && self.kind == ExecutionKind::Case {
            let key = TraceKey::index_of(self.execution_id, commit);
            echoes.push((key, TraceEcho::FindTexts { commit, event }));
        }
    }
}

/// Notes whose texts an item has. The name of a case is the case's own: an erasure of it comes from there.
fn note_texts(item: &TraceItem, texts: &mut BTreeMap<u64, CommitTexts>) {
    let span = Span { first: item.index, last: item.index };
    let none = |commit| CommitTexts { commit, added: None, changed: None };
    let added = item.inputs.as_ref().filter(|_| item.kind != ItemKind::Case).map(|told| told.commit);
    let ended = item.end.as_ref().map(|end| end.outputs.commit);
    let commented = item.comment.as_ref().map(|told| told.commit);
    if let Some(commit) = added {
        texts.entry(commit).or_insert_with(|| none(commit)).add(&CommitTexts { added: Some(span), ..none(commit) });
    }
    for commit in ended.into_iter().chain(commented).filter(|commit| Some(*commit) != added) {
        texts.entry(commit).or_insert_with(|| none(commit)).add(&CommitTexts { changed: Some(span), ..none(commit) });
    }
}

impl Span {
    fn joined(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self { first: a.first.min(b.first), last: a.last.max(b.last) }),
            (one, other) => one.or(other),
        }
    }
}

impl CommitTexts {
    fn add(&mut self, other: &Self) {
        self.added = Span::joined(self.added, other.added);
        self.changed = Span::joined(self.changed, other.changed);
    }
}

impl TextIndex {
    pub(super) fn remember(&mut self, texts: &CommitTexts) {
        match self.commits.iter_mut().rev().find(|known| known.commit == texts.commit) {
            Some(known) => known.add(texts),
            None => self.commits.push(*texts),
        }
    }

    /// The partitions that have texts of this commit.
    pub(super) fn partitions(&self, commit: u64) -> Vec<TraceKey> {
        let known = self.commits.iter().find(|known| known.commit == commit);
        let spans = known.into_iter().flat_map(|texts| texts.added.into_iter().chain(texts.changed));
        let numbers = spans.flat_map(|span| span.first / ITEMS_PER_PARTITION..=span.last / ITEMS_PER_PARTITION);
        let mut keys: Vec<TraceKey> = numbers.map(|number| TraceKey::Partition(self.execution_id, number)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl TracePartition {
    /// Takes in items; those that are here already are replaced.
    pub(super) fn put(&mut self, items: &[TraceItem]) {
        for item in items {
            match self.items.binary_search_by_key(&item.index, |known| known.index) {
                Ok(at) => self.items[at] = item.clone(),
                Err(at) => self.items.insert(at, item.clone()),
            }
        }
    }

    pub(super) fn change(&mut self, index: u64, change: &ItemChange) {
        if let Ok(at) = self.items.binary_search_by_key(&index, |known| known.index) {
            self.items[at].change(change);
        }
    }

    pub(super) fn erase(&mut self, event: EventId) {
        self.items.iter_mut().for_each(|item| item.change(&ItemChange::Erase(event)));
    }
}
