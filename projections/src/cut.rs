//! Texts cut to a budget, so that a document has an upper bound whatever an event says.

use std::collections::BTreeMap;

use testledger_schemas::event::StepErrorFacts;

/// The most of an id, in bytes. Ids of plans are shorter.
const ID_BYTES: usize = 256;
/// The most of one short word that is no id, in bytes: a commit, a fingerprint, a media type.
const WORD_BYTES: usize = 64;
/// What stands where a text was cut.
const MARK: &str = "…";
/// What an entry of a list or map costs beside its text, in JSON and in BSON.
const ENTRY_BYTES: usize = 12;

/// The bytes that texts may still take, counted as JSON writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// The beginning of a text, as far as the budget goes.
    pub(crate) fn head(&mut self, text: &str) -> String {
        let kept = head(text, self.left);
        self.left = self.left.saturating_sub(written(&kept));
        kept
    }

    /// The end of a text, as far as the budget goes.
    pub(crate) fn tail(&mut self, text: &str) -> String {
        let kept = tail(text, self.left);
        self.left = self.left.saturating_sub(written(&kept));
        kept
    }

    /// As many texts as the budget allows, the last one cut; then one that says how many more there were.
    pub(crate) fn list(&mut self, texts: &[String]) -> Vec<String> {
        let mut kept = vec![];
        for text in texts {
            if !self.enter(0) {
                kept.push(format!("{MARK} {} more", texts.len() - kept.len()));
                break;
            }
            kept.push(self.head(text));
        }
        kept
    }

    /// As many entries as the budget allows. A name is never cut: what it names would be something else.
    pub(crate) fn map(&mut self, entries: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (name, text) in entries {
            if self.enter(written(name)) {
                kept.insert(name.clone(), self.head(text));
            }
        }
        kept
    }

    /// Pays for one more entry with a name of so many bytes; false where the budget does not reach for it.
    fn enter(&mut self, name: usize) -> bool {
        let reaches = self.left > ENTRY_BYTES + name;
        if reaches {
            self.left -= ENTRY_BYTES + name;
        }
        reaches
    }
}

/// An id, cut if it is longer than any lawful one.
pub(crate) fn id(text: &str) -> String {
    head(text, ID_BYTES)
}

/// A short word, cut if it is none.
pub(crate) fn word(text: &str) -> String {
    head(text, WORD_BYTES)
}

/// What went wrong, with a fingerprint that is cut if it is none.
pub(crate) fn error(facts: &StepErrorFacts) -> StepErrorFacts {
    StepErrorFacts { kind: facts.kind, fingerprint: word(&facts.fingerprint) }
}

/// The beginning of a text, in at most so many bytes as JSON writes it.
pub(crate) fn head(text: &str, bytes: usize) -> String {
    match longest(text.char_indices().map(|(at, c)| (at + c.len_utf8(), c)), bytes) {
        None => text.to_owned(),
        Some(end) => marked(bytes, || format!("{}{MARK}", &text[..end])),
    }
}

/// The end of a text, in at most so many bytes as JSON writes it.
fn tail(text: &str, bytes: usize) -> String {
    match longest(text.char_indices().rev(), bytes) {
        None => text.to_owned(),
        Some(0) => marked(bytes, || MARK.to_owned()),
        Some(begin) => marked(bytes, || format!("{MARK}{}", &text[begin..])),
    }
}

/// A budget that is too small for the mark has no room for anything.
fn marked(bytes: usize, text: impl FnOnce() -> String) -> String {
    if bytes < MARK.len() { String::new() } else { text() }
}

/// Walks over characters, each with the place a cut behind it would have. None if all of them fit; else the last place
/// at which they fit together with the mark, 0 if not one does.
fn longest(characters: impl Iterator<Item = (usize, char)>, bytes: usize) -> Option<usize> {
    let mut used = 0;
    let mut place = 0;
    for (at, character) in characters {
        used += escaped(character);
        if used > bytes {
            return Some(place);
        }
        if used + MARK.len() <= bytes {
            place = at;
        }
    }
    None
}

/// The bytes of a text within the quotes of JSON.
fn written(text: &str) -> usize {
    text.chars().map(escaped).sum()
}

fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        assert_eq!(head("abcdef", 6), "abcdef");
        assert_eq!(head("abcdefg", 6), "abc…");
        assert_eq!(head("äöüß", 7), "äö…");
        assert_eq!(head("\u{1}\u{1}", 10), "\u{1}…");
        assert_eq!(head("abc", 2), "");
        assert_eq!(tail("abcdefg", 6), "…efg");
        assert_eq!(tail("äöüß", 7), "…üß");
        assert_eq!(tail("äöüß", 3), "…");
    }

    #[test]
    fn a_list_says_how_many_are_left_out() {
        let texts: Vec<String> = ["abc", "def", "ghi"].map(str::to_owned).into();
        assert_eq!(Budget::of(45 + 1).list(&texts), ["abc", "def", "ghi"]);
        assert_eq!(Budget::of(30).list(&texts), ["abc", "def", "… 1 more"]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_within_the_budget_as_json(text in any::<String>(), bytes in 0usize..200) {
            for kept in [head(&text, bytes), tail(&text, bytes)] {
                prop_assert!(serde_json::to_string(&kept).unwrap().len() <= bytes + 2, "{kept:?}");
            }
            if serde_json::to_string(&text).unwrap().len() <= bytes + 2 {
                prop_assert_eq!((head(&text, bytes), tail(&text, bytes)), (text.clone(), text));
            }
        }

        #[test]
        fn a_map_is_within_the_budget(entries in prop::collection::btree_map(".{0,9}", ".{0,50}", 0..9), bytes in 0usize..200) {
            let kept = Budget::of(bytes).map(&entries);
            prop_assert!(serde_json::to_string(&kept).unwrap().len() <= bytes + 2);
        }
    }
}
