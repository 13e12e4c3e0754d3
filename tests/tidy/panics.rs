//! Where the program may panic: nowhere, unless the line before says why it cannot happen.

use proc_macro2::{Delimiter, TokenTree};

use crate::Finding;
use crate::source::{Source, every_level, is_punct, line};

/// Methods and macros that panic.
const METHODS: [&str; 2] = ["unwrap", "expect"];
const MACROS: [&str; 5] = ["panic", "todo", "unimplemented", "unreachable", "dbg"];

/// Every panic without a word on why it cannot happen.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut found = vec![];
    every_level(&source.tokens, &mut |tokens| {
        for at in 0..tokens.len() {
            let TokenTree::Ident(word) = &tokens[at] else { continue };
            let word = word.to_string();
            let line = line(&tokens[at]);
            if panics(tokens, at, &word) && !is_explained(&source.text, line) {
                let what = format!("`{word}` may panic: say why it cannot in the line before, or do without");
                found.push(Finding { file: source.path.clone(), line, what });
            }
        }
    });
    found
}

fn panics(tokens: &[TokenTree], at: usize, word: &str) -> bool {
    let is_method = at > 0 && is_punct(&tokens[at - 1], '.') && METHODS.contains(&word);
    let next = tokens.get(at + 1);
    let is_call = matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
    (is_method && is_call) || (MACROS.contains(&word) && next.is_some_and(|next| is_punct(next, '!')))
}

/// Whether the line before is a comment, or an attribute that expects it with a reason.
fn is_explained(text: &str, line: usize) -> bool {
    let before = text.lines().nth(line.wrapping_sub(2)).unwrap_or_default().trim();
    before.starts_with("// ") || (before.starts_with("#[expect(") && before.contains("reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check(&Source::new("x.rs", text)).len()
    }

    #[test]
    fn a_panic_needs_a_reason() {
        for panic in
            ["x.unwrap()", "x.expect(\"y\")", "panic!()", "todo!()", "unimplemented!()", "dbg!(x)", "m!(x.unwrap())"]
        {
            assert_eq!(findings(&format!("fn f() {{\n{panic};\n}}")), 1, "{panic}");
            assert_eq!(findings(&format!("fn f() {{\n// It is never empty.\n{panic};\n}}")), 0, "{panic}");
            assert_eq!(findings(&format!("#[cfg(test)] mod tests {{ fn f() {{ {panic}; }} }}")), 0, "{panic}");
        }
        assert_eq!(
            findings("fn f() {\n#[expect(clippy::expect_used, reason = \"never empty\")]\nx.expect(\"y\") }"),
            0
        );
        assert_eq!(findings("fn f() { x.unwrap_or_default(); /* y.unwrap() */ g(\"z.unwrap()\") }"), 0);
    }
}
