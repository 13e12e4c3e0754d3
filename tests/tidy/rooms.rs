//! Who uses whom: the table of `rules.rs`, held over paths.

use proc_macro2::{Delimiter, Group, TokenTree};

use crate::Finding;
use crate::rules::{APPENDERS, BANS, Ban, ROOMS};
use crate::source::{Path, Source, every_level, is_ident, is_punct, line, paths, within};

/// Every breach of the table in a file.
pub fn check(source: &Source) -> Vec<Finding> {
    let paths: Vec<Path> = paths(&source.tokens).into_iter().map(|path| absolute(&source.path, path)).collect();
    let mut found = between_rooms(source, &paths);
    for ban in BANS.iter().filter(|ban| holds_for(ban, &source.path)) {
        found.extend(banned(source, ban, &paths));
    }
    found.extend(appends(source));
    found
}

/// The rooms that do not stand in the table: each must be given its place.
pub fn unknown_rooms(sources: &[Source]) -> Vec<Finding> {
    let rooms = sources.iter().filter_map(|source| Some((source, room_of(&source.path)?)));
    let unknown = rooms.filter(|(_, room)| ROOMS.iter().all(|known| known.name != room));
    unknown.map(|(source, room)| finding(source, 1, format!("give the room `{room}` its line in ROOMS"))).collect()
}

fn finding(source: &Source, line: usize, what: String) -> Finding {
    Finding { file: source.path.clone(), line, what }
}

/// The room a file of `src/` is in.
fn room_of(path: &str) -> Option<String> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// A path from `super` as one from `crate`.
fn absolute(file: &str, path: Path) -> Path {
    let above = path.words.iter().take_while(|word| *word == "super").count();
    let Some(own) = file.split_once("src/").map(|(_, own)| own.trim_end_matches(".rs").trim_end_matches("/mod")) else {
        return path;
    };
    let mut module: Vec<String> = own.split('/').map(str::to_owned).collect();
    if above == 0 || above > module.len() {
        return path;
    }
    module.truncate(module.len() - above);
    let words = ["crate".to_owned()].into_iter().chain(module).chain(path.words.into_iter().skip(above)).collect();
    Path { words, line: path.line }
}

fn between_rooms(source: &Source, paths: &[Path]) -> Vec<Finding> {
    let Some(own) = room_of(&source.path) else { return vec![] };
    let Some(room) = ROOMS.iter().find(|room| room.name == own) else { return vec![] };
    let mut found = vec![];
    for path in paths {
        let [first, used, ..] = path.words.as_slice() else { continue };
        let is_room = ROOMS.iter().any(|room| room.name == used);
        if first == "crate" && is_room && *used != own && !room.uses.contains(&used.as_str()) {
            found.push(finding(source, path.line, format!("`{own}` must not use `{used}`: {}", room.why)));
        }
    }
    found
}

fn holds_for(ban: &Ban, path: &str) -> bool {
    let is_in = |places: &[&str]| {
        places.iter().any(|place| if place.ends_with('/') { path.starts_with(place) } else { path == *place })
    };
    is_in(ban.files) && !is_in(ban.except)
}

fn banned(source: &Source, ban: &Ban, paths: &[Path]) -> Vec<Finding> {
    let mut found = vec![];
    for word in ban.words {
        let lines = match word.strip_suffix('!') {
            Some(name) => macros(source, name),
            None => paths.iter().filter(|path| names(path, word)).map(|path| path.line).collect(),
        };
        found.extend(lines.into_iter().map(|line| finding(source, line, format!("no `{word}` here: {}", ban.why))));
    }
    found
}

/// Whether a path is of this crate (`x::`), or has these words one after the other.
fn names(path: &Path, word: &str) -> bool {
    if let Some(name) = word.strip_suffix("::") {
        return path.words.len() > 1 && path.words[0] == name;
    }
    let wanted: Vec<&str> = word.split("::").collect();
    path.words.windows(wanted.len()).any(|words| words.iter().eq(wanted.iter()))
}

fn macros(source: &Source, name: &str) -> Vec<usize> {
    let mut lines = vec![];
    every_level(&source.tokens, &mut |tokens| {
        for pair in tokens.windows(2) {
            if is_ident(Some(&pair[0]), name) && is_punct(&pair[1], '!') {
                lines.push(line(&pair[0]));
            }
        }
    });
    lines
}

/// Calls of `append` on a log: with a commit and nothing else. `Vec::append` takes `&mut`, a map of headers two values.
fn appends(source: &Source) -> Vec<Finding> {
    if APPENDERS.iter().any(|place| source.path.starts_with(place)) {
        return vec![];
    }
    let mut found = vec![];
    every_level(&source.tokens, &mut |tokens| {
        for call in tokens.windows(3).filter(|call| is_ident(call.get(1), "append")) {
            let TokenTree::Group(arguments) = &call[2] else { continue };
            let (count, is_borrow) = arguments_of(arguments);
            let of_log =
                (is_punct(&call[0], '.') && count == 1 && !is_borrow) || (is_punct(&call[0], ':') && count == 2);
            if of_log && arguments.delimiter() == Delimiter::Parenthesis {
                let what = "only the engine's journal and the erasure append to the log";
                found.push(finding(source, line(&call[1]), what.to_owned()));
            }
        }
    });
    found
}

/// How many arguments there are, and whether the first is `&mut`, or a switch: no commit.
fn arguments_of(arguments: &Group) -> (usize, bool) {
    let tokens = within(arguments);
    let count = tokens.split(|token| is_punct(token, ',')).filter(|argument| !argument.is_empty()).count();
    let is_borrow = tokens.first().is_some_and(|first| is_punct(first, '&')) && is_ident(tokens.get(1), "mut");
    // `OpenOptions::append(true)` opens a file.
    let is_switch = is_ident(tokens.first(), "true") || is_ident(tokens.first(), "false");
    (count, is_borrow || is_switch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn breaches(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn a_room_uses_only_whom_it_may() {
        assert_eq!(breaches("src/steps/x.rs", "use crate::engine::Engine;"), 2);
        assert_eq!(breaches("src/steps/http/x.rs", "use super::super::super::engine;"), 2);
        assert_eq!(breaches("src/steps/x.rs", "fn f() -> crate::views::View { }"), 1);
        assert_eq!(breaches("src/event_store/x.rs", "use crate::{ports::ids::Ids, bus::Bus};"), 1);
        assert_eq!(breaches("src/engine/x.rs", "use crate::cli;"), 1);
        assert_eq!(breaches("src/engine/x.rs", "use crate::steps::{redact::Redactor}; use super::journal;"), 0);
    }

    #[test]
    fn a_pure_room_reaches_nothing() {
        let impure = [
            "use std::fs;",
            "use std::time::{Duration, Instant};",
            "use tokio::sync::Mutex;",
            "async fn f() {}",
            "fn f() { uuid::Uuid::new_v4(); }",
            "fn f() { rand::random::<u8>(); }",
            "macro_rules! m { () => { std::env::var(\"X\") } }",
        ];
        for text in impure {
            assert_eq!(breaches("src/plan/x.rs", text), 1, "{text}");
            assert_eq!(breaches("schemas/src/x.rs", text), 1, "{text}");
        }
        assert_eq!(breaches("src/plan/x.rs", "use std::time::Duration; // tokio::spawn\nfn is_random(rand: u8) {}"), 0);
        assert_eq!(breaches("projections/src/x.rs", "use testledger::engine;"), 1);
        assert_eq!(breaches("src/views/x.rs", "use rusqlite::Connection;"), 1);
        assert_eq!(breaches("src/views/sqlite/x.rs", "use rusqlite::Connection;"), 0);
        assert_eq!(breaches("src/views/x.rs", "use mongodb::Client; use bson::doc;"), 2);
        assert_eq!(breaches("src/views/mongodb/x.rs", "use mongodb::Client; use bson::doc;"), 0);
        assert_eq!(breaches("src/views/x.rs", "use crate::views::mongodb::MongoViews;"), 0);
    }

    #[test]
    fn only_the_command_line_and_the_terminal_print() {
        assert_eq!(breaches("src/engine/x.rs", "fn f() { println!(\"x\"); g(std::io::stderr()); }"), 2);
        assert_eq!(breaches("src/cli/x.rs", "fn f() { println!(\"x\") }"), 0);
    }

    #[test]
    fn only_the_journal_appends() {
        assert_eq!(breaches("src/engine/x.rs", "fn f() { self.log.append(commit).await; }"), 1);
        assert_eq!(breaches("src/engine/x.rs", "fn f() { EventLog::append(log, commit); }"), 1);
        assert_eq!(breaches("src/engine/journal.rs", "fn f() { self.log.append(commit); }"), 0);
        assert_eq!(
            breaches("src/engine/x.rs", "fn f() { open.append(&mut more); headers.append(x, y); file.append(true); }"),
            0
        );
    }

    #[test]
    fn a_room_without_a_line_is_noticed() {
        assert_eq!(unknown_rooms(&[Source::new("src/cellar/x.rs", ""), Source::new("src/bus/mod.rs", "")]).len(), 1);
    }
}
