//! Every way in which the owner of a log may change it behind our back, in whatever store it is, and what must be found.

use serde_json::{Value, json};
use testledger::audit::{AuditReport, Finding};
use testledger::event_store::StoreError;
use testledger_schemas::page::Anchor;

use super::stored::*;

/// What must be said of a tampering.
#[derive(Clone, Copy)]
pub enum Names {
    /// A finding of the audit.
    Finding(fn(&Finding) -> bool),
    /// The log cannot even be opened, with these words.
    Damage(&'static str),
}

/// One way of tampering with what a store shows as `T`.
pub struct Case<T: 'static> {
    /// What is done.
    pub name: &'static str,
    /// Does it.
    pub tamper: fn(&mut T),
    /// What names it.
    pub names: Names,
    /// Whether only a kept `PAGE:HASH` can tell.
    pub needs_anchor: bool,
}

pub const fn case<T>(name: &'static str, tamper: fn(&mut T), names: fn(&Finding) -> bool) -> Case<T> {
    Case { name, tamper, names: Names::Finding(names), needs_anchor: false }
}

pub const fn anchored<T>(name: &'static str, tamper: fn(&mut T), names: fn(&Finding) -> bool) -> Case<T> {
    Case { name, tamper, names: Names::Finding(names), needs_anchor: true }
}

/// A copy of the log that a case may tamper with.
pub trait Copied {
    /// Everything it stores.
    async fn stored(&self) -> Stored;
    /// Makes it store something else.
    async fn change(&self, before: &Stored, after: &Stored);
    /// Opens and verifies it.
    async fn audit(&self, expect: Option<Anchor>) -> Result<AuditReport, StoreError>;
}

/// Tampers with a copy of a log whose `anchor` somebody kept, and audits it. Returns what is wrong with the audit, if
/// something is.
pub async fn try_case(copy: &impl Copied, anchor: Anchor, case: &Case<Stored>) -> Result<(), String> {
    let before = copy.stored().await;
    let mut after = before.clone();
    (case.tamper)(&mut after);
    copy.change(&before, &after).await;
    judge(copy, anchor, case).await
}

/// Audits a copy that was tampered with.
pub async fn judge<T>(copy: &impl Copied, anchor: Anchor, case: &Case<T>) -> Result<(), String> {
    let expect = case.needs_anchor.then_some(anchor);
    if case.needs_anchor && !copy.audit(None).await.is_ok_and(|report| report.is_clean()) {
        return Err(format!("{}: found without the anchor, so it does not test the anchor", case.name));
    }
    let said = match (copy.audit(expect).await, case.names) {
        (Ok(report), Names::Finding(names)) if report.findings.iter().any(names) => return Ok(()),
        (Ok(report), _) => report.to_text(),
        (Err(StoreError::Damaged(said)), Names::Damage(words)) if said.contains(words) => return Ok(()),
        (Err(error), _) => format!("it cannot be opened: {error}"),
    };
    Err(format!("{}: not named, but only: {said}", case.name))
}

/// Those that are the same in every store.
pub const CASES: &[Case<Stored>] = &[
    case("a byte of data changed", |s| step(s, |c| set(c, "/events/1/data/run/step", json!("step-9"))), is_edited),
    case("a byte of content changed", |s| step(s, |c| set(c, "/events/1/content/value/name", json!("b"))), is_edited),
    case("a nonce changed", |s| step(s, |c| set(c, "/events/1/content/nonce", json!("00"))), is_edited),
    case("the time changed", |s| step(s, |c| set(c, "/recorded_at", json!("2026-01-01T00:00:00.000Z"))), is_edited),
    case("the actor changed", |s| step(s, |c| set(c, "/actor", json!("eve"))), is_edited),
    case(
        "a type changed (number to text)",
        |s| step(s, |c| set(c, "/events/1/data/run/attempt", json!("1"))),
        is_edited,
    ),
    case(
        "a type changed (number to fraction)",
        |s| step(s, |c| set(c, "/events/1/data/run/attempt", json!(1.5))),
        is_edited,
    ),
    case("an event's name changed", |s| step(s, |c| set(c, "/events/1/type", json!("ExecutionReady"))), is_edited),
    case("a shape's version changed", |s| step(s, |c| set(c, "/events/1/schema_version", json!(2))), is_edited),
    case("a field added to data", |s| step(s, |c| add(c, "/events/1/data", "more", json!(1))), is_edited),
    case("a field added to content", |s| step(s, |c| add(c, "/events/1/content/value", "more", json!(1))), is_edited),
    case("a field added to the commit", |s| step(s, |c| add(c, "", "more", json!(1))), is_unreadable),
    case("an event deleted", |s| two(s, |c| drop(events(c).remove(0))), is_edited),
    case(
        "an event inserted",
        |s| {
            two(s, |c| {
                let twin = events(c)[0].clone();
                events(c).push(twin);
            })
        },
        is_edited,
    ),
    case("two events swapped", |s| two(s, |c| events(c).swap(0, 1)), is_edited),
    case("an event renumbered", |s| step(s, |c| set(c, "/first_version", json!(9))), is_edited),
    case("a commit edited and hashed again", edit_and_hash, |f| matches!(f, Finding::CommitReplaced { .. })),
    case("a commit deleted", |s| drop(s.commits.pop_last()), is_missing),
    case("all commits deleted", |s| s.commits.clear(), is_missing),
    case("the last commits deleted without their pages", delete_last_commits, is_missing),
    case("a commit inserted under a strange key", |s| drop(s.commits.insert("zzz".into(), json!({}))), is_unpaged),
    // Where a row holds its key a second time it is unreadable; where it does not, the hash tells.
    case("two commits swapped", swap_commits, |f| is_unreadable(f) || is_edited(f)),
    case("a commit renumbered", |s| renumber_commit(s, false), is_missing),
    case("a commit renumbered within, too", |s| renumber_commit(s, true), is_missing),
    case(
        "a page in the middle cut",
        |s| drop(s.pages.remove(&7)),
        |f| matches!(f, Finding::PagesMissing { page: 7, last: 7 }),
    ),
    case(
        "a page edited",
        |s| s.edit_page(9, false, |page| page.entries[0].events += 1),
        |f| matches!(f, Finding::PageEdited { page: 9 }),
    ),
    case(
        "a page edited and hashed again",
        |s| s.edit_page(9, true, |page| page.token = Some("x".into())),
        |f| matches!(f, Finding::PageChainBroken { page: 10 }),
    ),
    case("a page's order changed and hashed again", reorder_page, is_page_chain_broken),
    case(
        "a page's field added",
        |s| add(s.pages.get_mut(&9).unwrap(), "", "more", json!(1)),
        |f| matches!(f, Finding::PageUnreadable { page: 9, .. }),
    ),
    case(
        "a page renumbered",
        |s| s.edit_page(9, true, |page| page.number = 9_000),
        |f| matches!(f, Finding::PagesMissing { page: 9, .. }),
    ),
    case("a commit edited, its page too, one level up", edit_one_level_up, is_page_chain_broken),
    case("a commit edited, and every page after it hashed again", edit_and_hash_pages, |f| {
        matches!(f, Finding::StreamChainBroken { .. })
    }),
    case("the log's id changed", change_log_id, |f| matches!(f, Finding::PageChainBroken { page: 1 })),
    case("a commit placed twice", place_twice, |f| matches!(f, Finding::CommitTwice { .. })),
    case(
        "content taken away unlawfully",
        |s| step(s, |c| take(c, "/events/1", "content")),
        |f| matches!(f, Finding::ContentGone { .. }),
    ),
    case(
        "content and its hash taken away",
        |s| {
            step(s, |c| {
                take(c, "/events/1", "content");
                take(c, "/events/1", "content_hash");
            })
        },
        is_edited,
    ),
    case("an artifact deleted", |s| s.artifacts.clear(), is_artifact_gone),
    case("an artifact changed", |s| s.artifacts.values_mut().for_each(|bytes| *bytes = vec![0]), is_artifact_edited),
    anchored("the tail cut whole", |s| cut_pages(s, 8, true), |f| matches!(f, Finding::TailCut { .. })),
    anchored("the log rewritten as a whole", rewrite_all, |f| matches!(f, Finding::Rewritten { .. })),
];

/// Changes a commit in the middle of the log whose second event is a step's start.
fn step(stored: &mut Stored, change: impl FnOnce(&mut Value)) {
    let key = stored.with_step();
    stored.edit(&key, change);
}

/// Changes a commit in the middle of the log with two events.
fn two(stored: &mut Stored, change: impl FnOnce(&mut Value)) {
    let key = stored.with_two();
    stored.edit(&key, change);
}

pub fn is_edited(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitEdited { .. })
}
pub fn is_unreadable(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitUnreadable { .. })
}
pub fn is_altered(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitAltered { .. })
}
pub fn is_missing(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitMissing { .. })
}
pub fn is_unpaged(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitWithoutPage { .. })
}
pub fn is_page_unreadable(finding: &Finding) -> bool {
    matches!(finding, Finding::PageUnreadable { .. })
}
fn is_page_chain_broken(finding: &Finding) -> bool {
    matches!(finding, Finding::PageChainBroken { .. })
}
pub fn is_artifact_gone(finding: &Finding) -> bool {
    matches!(finding, Finding::ArtifactGone { .. })
}
fn is_artifact_edited(finding: &Finding) -> bool {
    matches!(finding, Finding::ArtifactEdited { .. })
}
