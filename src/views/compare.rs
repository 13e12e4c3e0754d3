//! Stored views against a replay in memory: every view that is missing, too much, or not what the log says.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{ManagedStore, ViewStore};
use testledger_projections::projection::Projection;
use testledger_projections::worker::catch_up;

use crate::event_store::SharedLog;
use crate::views::ViewError;
use crate::views::feed::LogFeed;
use crate::views::replay::UpTo;

/// How many stored views are read at once.
const SCANNED_AT_ONCE: usize = 1_000;
/// How many differences are listed; more are only counted.
pub const MAX_LISTED: usize = 1_000;
/// How often differing views are looked at again, because the projection went on meanwhile.
const MAX_LOOKS: usize = 20;

/// What is different about one view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DifferenceKind {
    /// It should be there and is not.
    Missing,
    /// It is there and should not be.
    Surplus,
    /// It says something else than the log.
    Different,
    /// It is not as this program writes it.
    Unreadable,
}

/// A stored view that is not what the log says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// The key of the view.
    pub key: String,
    /// What is different.
    pub kind: DifferenceKind,
    /// Where: the fields that differ, or what is wrong with the stored view.
    pub detail: String,
}

/// The views of one projection, compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// The projection.
    pub projection: &'static str,
    /// The position at which they were compared.
    pub position: u64,
    /// How many views there should be.
    pub views: u64,
    /// How many differ.
    pub differences_total: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl Compared {
    /// For people: a line for each difference, and one that says it all.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (name, position) = (self.projection, self.position);
        let mut lines: Vec<String> = self.differences.iter().map(|difference| difference.line(name)).collect();
        lines.push(match self.differences_total {
            0 => format!("views of {name}: all {} are what the log says at position {position}", self.views),
            n => format!(
                "views of {name}: {n} of {} are NOT what the log says at position {position}; \
                 `testledger projections rebuild {name}` mends them",
                self.views
            ),
        });
        lines.join("\n") + "\n"
    }
}

impl Difference {
    fn line(&self, projection: &str) -> String {
        let what = match self.kind {
            DifferenceKind::Missing => "is missing".to_owned(),
            DifferenceKind::Surplus => "should not be there".to_owned(),
            DifferenceKind::Different => format!("differs in {}", self.detail),
            DifferenceKind::Unreadable => format!("cannot be read: {}", self.detail),
        };
        format!("DIFFERENCE {projection} {}: {what}", self.key)
    }
}

/// Compares the stored views with a fold in memory up to their own checkpoint, under the setting they were begun with.
/// They may be folded on meanwhile: what differs is looked at again.
///
/// # Errors
/// [`ViewError`] of the log or the store.
pub async fn compare<P: Projection>(
    projection: &P,
    log: &SharedLog,
    store: &dyn ManagedStore<P>,
) -> Result<Compared, ViewError> {
    loop {
        let mut checkpoint = store.checkpoint().await?;
        let projection = checkpoint.settle(projection);
        let compared = compare_up_to(&projection, log, store, checkpoint.position).await?;
        // Views that were rebuilt meanwhile may be under another setting.
        if store.checkpoint().await?.settle(&projection).setting() == projection.setting() {
            return Ok(compared);
        }
    }
}

async fn compare_up_to<P: Projection>(
    projection: &P,
    log: &SharedLog,
    store: &dyn ManagedStore<P>,
    mut position: u64,
) -> Result<Compared, ViewError> {
    let mut replay = Replay { projection, log, memory: MemoryViews::default(), by_text: BTreeMap::new() };
    replay.go_to(position).await?;
    let mut suspects = suspects(&replay, store).await?;
    let mut differences = vec![];
    for _ in 0..MAX_LOOKS {
        differences = again(&replay, store, &suspects).await?;
        let now = store.checkpoint().await?.position;
        if now == position {
            break;
        }
        // What is right by now was only ahead of the replay, or behind it.
        suspects = differences.iter().map(|difference| difference.key.clone()).collect();
        position = now;
        replay.go_to(position).await?;
    }
    let differences_total = differences.len() as u64;
    differences.truncate(MAX_LISTED);
    let views = replay.by_text.len() as u64;
    Ok(Compared { projection: P::NAME, position, views, differences_total, differences })
}

/// The views as the log has them.
struct Replay<'a, P: Projection> {
    projection: &'a P,
    log: &'a SharedLog,
    memory: MemoryViews<P>,
    by_text: BTreeMap<String, (P::Key, P::View)>,
}

impl<P: Projection> Replay<'_, P> {
    async fn go_to(&mut self, position: u64) -> Result<(), ViewError> {
        // Views that were folded from another history, or thrown away: from the first event again.
        if self.memory.checkpoint().await?.position > position {
            self.memory = MemoryViews::default();
        }
        let feed = UpTo::new(LogFeed::new(self.log.clone()), position);
        catch_up(self.projection, &feed, &self.memory, Some(position)).await?;
        self.by_text = self.memory.all().into_iter().map(|(key, view)| (key.to_string(), (key, view))).collect();
        Ok(())
    }
}

/// The keys of all views that differ at a first look.
async fn suspects<P: Projection>(
    replay: &Replay<'_, P>,
    store: &dyn ManagedStore<P>,
) -> Result<BTreeSet<String>, ViewError> {
    let mut missing: BTreeSet<String> = replay.by_text.keys().cloned().collect();
    let (mut differing, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let stored = store.scan(after.as_deref(), SCANNED_AT_ONCE).await?;
        let Some((last, _)) = stored.last() else { break };
        after = Some(last.clone());
        for (key, view) in stored {
            missing.remove(&key);
            if difference(&key, replay.by_text.get(&key).map(|(_, view)| view), Some(&view)).is_some() {
                differing.insert(key);
            }
        }
    }
    differing.append(&mut missing);
    Ok(differing)
}

/// Looks at some views once more.
async fn again<P: Projection>(
    replay: &Replay<'_, P>,
    store: &dyn ManagedStore<P>,
    keys: &BTreeSet<String>,
) -> Result<Vec<Difference>, ViewError> {
    let mut found = vec![];
    for key in keys {
        // The keys from this one on: a key as text cannot be read back. The text before it is the key less its end.
        let before: String = key.chars().take(key.chars().count().saturating_sub(1)).collect();
        let mut after = Some(before);
        let stored = loop {
            let stored = store.scan(after.as_deref(), SCANNED_AT_ONCE).await?;
            let Some((last, _)) = stored.last() else { break None };
            if last.as_str() >= key.as_str() {
                break stored.into_iter().find(|(found, _)| found == key).map(|(_, view)| view);
            }
            after = Some(last.clone());
        };
        found.extend(difference(key, replay.by_text.get(key).map(|(_, view)| view), stored.as_ref()));
    }
    Ok(found)
}

fn difference<V: PartialEq + Serialize>(
    key: &str,
    expected: Option<&V>,
    stored: Option<&Result<V, String>>,
) -> Option<Difference> {
    let named = |kind, detail: String| Some(Difference { key: key.to_owned(), kind, detail });
    match (expected, stored) {
        (None, None) => None,
        (Some(_), None) => named(DifferenceKind::Missing, String::new()),
        (_, Some(Err(why))) => named(DifferenceKind::Unreadable, why.clone()),
        (None, Some(Ok(_))) => named(DifferenceKind::Surplus, String::new()),
        (Some(expected), Some(Ok(stored))) if expected == stored => None,
        (Some(expected), Some(Ok(stored))) => named(DifferenceKind::Different, fields(expected, stored)),
    }
}

/// The names of the fields that differ.
fn fields<V: Serialize>(expected: &V, stored: &V) -> String {
    let object = |view: &V| serde_json::to_value(view).ok().and_then(|value| value.as_object().cloned());
    let (Some(expected), Some(stored)) = (object(expected), object(stored)) else { return String::new() };
    let names: BTreeSet<&String> = expected.keys().chain(stored.keys()).collect();
    let differing = names.into_iter().filter(|name| expected.get(*name) != stored.get(*name));
    differing.map(String::as_str).collect::<Vec<_>>().join(", ")
}
