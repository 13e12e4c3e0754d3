//! A Rust file as tokens: comments and texts cannot be mistaken for code, and code of tests is left out.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A Rust file.
pub struct Source {
    /// Its path in the repository.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its code without that of tests.
    pub tokens: Vec<TokenTree>,
    /// The modules of its own that are built for tests only, by name.
    test_modules: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut test_modules = vec![];
        let tokens = without_test_items(stream, &mut test_modules);
        Self { path: path.to_owned(), text: text.to_owned(), tokens, test_modules }
    }

    /// The folder in which the files of this one's modules are.
    fn folder(&self) -> String {
        let stem = self.path.trim_end_matches(".rs");
        ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem).to_owned()
    }
}

/// The files that are not modules of tests.
pub fn without_tests(sources: Vec<Source>) -> Vec<Source> {
    let of_tests: Vec<String> = sources
        .iter()
        .flat_map(|source| source.test_modules.iter().map(|name| format!("{}/{name}", source.folder())))
        .collect();
    let is_test = |path: &str| {
        of_tests.iter().any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    sources.into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// The tokens without the items that stand behind `#[cfg(test)]` or `#[test]`.
fn without_test_items(stream: TokenStream, test_modules: &mut Vec<String>) -> Vec<TokenTree> {
    let mut kept = vec![];
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_punct(&token, '#') && tokens.peek().is_some_and(is_test_attribute) {
            skip_item(&mut tokens, test_modules);
        } else if let TokenTree::Group(group) = token {
            let within = without_test_items(group.stream(), test_modules).into_iter().collect();
            let mut stripped = Group::new(group.delimiter(), within);
            stripped.set_span(group.span());
            kept.push(stripped.into());
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Skips to the end of an item: its braces, or a semicolon. A module without braces is a file.
fn skip_item(tokens: &mut impl Iterator<Item = TokenTree>, test_modules: &mut Vec<String>) {
    let mut words = vec![];
    for token in tokens {
        if let TokenTree::Ident(ident) = &token {
            words.push(ident.to_string());
        }
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            token if is_punct(&token, ';') => {
                if let [.., keyword, name] = words.as_slice()
                    && keyword == "mod"
                {
                    test_modules.push(name.clone());
                }
                return;
            }
            _ => {}
        }
    }
}

fn is_test_attribute(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let text: String = group.stream().to_string().split_whitespace().collect();
    group.delimiter() == Delimiter::Bracket && ["cfg(test)", "test", "tokio::test"].contains(&text.as_str())
}

/// Whether a token is this sign.
pub fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Whether a token is this word.
pub fn is_ident(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

/// The line of a token.
pub fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// The tokens in a group.
pub fn within(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// Calls `look` with the tokens of this level, and then with those of every level below.
pub fn every_level(tokens: &[TokenTree], look: &mut impl FnMut(&[TokenTree])) {
    look(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            every_level(&within(group), look);
        }
    }
}

/// A path such as `crate::engine::Engine`, written out where it stands in a tree of `use`.
#[derive(PartialEq, Eq, Debug)]
pub struct Path {
    /// Its words.
    pub words: Vec<String>,
    /// Where it ends.
    pub line: usize,
}

/// Every path in the tokens, single words too.
pub fn paths(tokens: &[TokenTree]) -> Vec<Path> {
    let mut found = vec![];
    collect(tokens, &[], &mut found);
    found
}

fn collect(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Path>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = collect_one(tokens, at, prefix, found),
            TokenTree::Group(group) => {
                collect(&within(group), &[], found);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// Collects the path that begins here. Returns where it ends.
fn collect_one(tokens: &[TokenTree], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut words = prefix.to_vec();
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        words.push(ident.to_string());
        let line = line(&tokens[at]);
        let goes_on = tokens.get(at + 1..at + 3).is_some_and(|next| next.iter().all(|sign| is_punct(sign, ':')));
        match tokens.get(at + 3) {
            Some(TokenTree::Ident(_)) if goes_on => at += 3,
            Some(TokenTree::Group(group)) if goes_on && group.delimiter() == Delimiter::Brace => {
                collect(&within(group), &words, found);
                return at + 4;
            }
            _ => {
                found.push(Path { words, line });
                return at + 1;
            }
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        paths(&Source::new("x.rs", text).tokens).into_iter().map(|path| path.words.join("::")).collect()
    }

    #[test]
    fn a_tree_of_use_is_written_out() {
        assert_eq!(
            words("use a::{b::{C, d as e}, self};"),
            ["use", "a::b::C", "a::b::d", "a::b::as", "a::b::e", "a::self"]
        );
        assert_eq!(words("fn f() { g(a::h::<b::C>()) }"), ["fn", "f", "g", "a::h", "b::C"]);
    }

    #[test]
    fn comments_texts_and_tests_are_no_code() {
        let text = "// a::b\n const T: &str = \"c::d\"; #[cfg(test)] mod tests { use e::f; } #[test] fn t() { g::h() }";
        assert_eq!(words(text), ["const", "T", "str"]);
    }

    #[test]
    fn a_module_of_tests_is_found_in_its_file() {
        let sources = ["a/mod.rs", "a/tests.rs", "a/tests/b.rs", "a/c.rs"];
        let sources = sources.map(|path| Source::new(path, "#[cfg(test)]\npub mod tests;")).into_iter().collect();
        let left: Vec<String> = without_tests(sources).into_iter().map(|source| source.path).collect();
        assert_eq!(left, ["a/mod.rs", "a/c.rs"]);
    }
}
