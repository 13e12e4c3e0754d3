//! Readers of statuses, outcomes and events name every variant: no arm takes whatever else there is.

use proc_macro2::{Delimiter, TokenTree};

use crate::Finding;
use crate::rules::{CLOSED, WHY_CLOSED};
use crate::source::{Source, every_level, is_ident, is_punct, line, paths, within};

/// Every arm for the rest in a match over one of the closed enumerations.
pub fn check(source: &Source) -> Vec<Finding> {
    let closed = closed_here(source);
    let mut found = vec![];
    every_level(&source.tokens, &mut |tokens| {
        for at in (0..tokens.len()).filter(|at| is_ident(tokens.get(*at), "match")) {
            let body = tokens[at + 1..].iter().find_map(|token| match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(within(group)),
                _ => None,
            });
            let patterns = body.map(|body| patterns(&body)).unwrap_or_default();
            let is_closed = patterns.iter().any(|pattern| names_one(pattern, &closed));
            for rest in patterns.iter().filter(|pattern| is_closed && takes_the_rest(pattern)) {
                found.push(Finding { file: source.path.clone(), line: line(&rest[0]), what: WHY_CLOSED.to_owned() });
            }
        }
    });
    found
}

/// The closed enumerations, without those of which this file knows another of the same name.
fn closed_here(source: &Source) -> Vec<&'static str> {
    let ours = ["crate", "super", "self", "testledger_schemas", "testledger_projections"];
    let paths = paths(&source.tokens);
    let is_foreign = |name: &str| {
        paths.iter().any(|path| {
            path.words.last().is_some_and(|last| last == name)
                && path.words.len() > 2
                && !ours.contains(&path.words[0].as_str())
        })
    };
    CLOSED.iter().copied().filter(|name| !is_foreign(name)).collect()
}

fn names_one(pattern: &[TokenTree], closed: &[&str]) -> bool {
    paths(pattern).iter().any(|path| path.words.windows(2).any(|two| closed.contains(&two[0].as_str())))
}

/// `_`, or a name for whatever there is; both without a condition.
fn takes_the_rest(pattern: &[TokenTree]) -> bool {
    let [TokenTree::Ident(only)] = pattern else { return false };
    only.to_string().starts_with(|first: char| first == '_' || first.is_lowercase())
}

/// The patterns of the arms of a match.
fn patterns(body: &[TokenTree]) -> Vec<Vec<TokenTree>> {
    let mut patterns = vec![];
    let mut at = 0;
    while at < body.len() {
        let Some(arrow) =
            (at..body.len().saturating_sub(1)).find(|at| is_punct(&body[*at], '=') && is_punct(&body[*at + 1], '>'))
        else {
            break;
        };
        patterns.push(without_attributes(&body[at..arrow]));
        let begin = arrow + 2;
        let is_block =
            matches!(body.get(begin), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
        let ends = (begin..body.len()).find(|at| is_punct(&body[*at], ',')).unwrap_or(body.len());
        at = if is_block { begin + 1 + usize::from(ends == begin + 1) } else { ends + 1 };
    }
    patterns
}

fn without_attributes(pattern: &[TokenTree]) -> Vec<TokenTree> {
    let attributes = pattern.chunks(2).take_while(|two| is_punct(&two[0], '#')).count();
    pattern[attributes * 2..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(arms: &str) -> usize {
        check(&Source::new("x.rs", &format!("fn f() {{ match x(|y| {{ y }}) {{ {arms} }} }}"))).len()
    }

    #[test]
    fn an_arm_for_the_rest_is_found() {
        assert_eq!(findings("StepOutcome::Passed => 1, _ => 2"), 1);
        assert_eq!(findings("Some(Event::A(x)) => { 1 } other => 2"), 1);
        assert_eq!(findings("ExecutionStatus::Passed if y => match z { _ => 1 }, status => { 2 }"), 1);
        assert_eq!(findings("1 => StepOutcome::Passed, _ => StepOutcome::Failed"), 0);
        assert_eq!(findings("Event::A(_) | Event::B { .. } => 1, Event::C => 2,"), 0);
        assert_eq!(findings("ErrorKind::A => 1, _ => 2"), 0);
    }

    #[test]
    fn an_event_of_somebody_else_is_not_ours() {
        let text = "use quick_xml::events::Event; fn f() { match x { Event::Eof => 1, _ => 2 } }";
        assert!(check(&Source::new("x.rs", text)).is_empty());
    }
}
