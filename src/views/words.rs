//! Words: what a search for a text looks for in the views of executions. Whole words, whatever their case.

use std::collections::BTreeSet;

use testledger_projections::executions::ExecutionView;

/// How many words of one execution can be searched for; its names come before the message of its failure.
pub const MAX_WORDS: usize = 64;
/// How many characters of a word count.
pub const MAX_WORD_CHARS: usize = 64;

/// The words of a text, in their order: runs of letters and digits, in lower case.
pub fn in_text(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().flat_map(char::to_lowercase).take(MAX_WORD_CHARS).collect())
}

/// The words of an execution: of its name in lists, the name shown to people, its tags, and of its first failure the step,
/// the test case and the message. What was erased has none.
#[must_use]
pub fn of(view: &ExecutionView) -> BTreeSet<String> {
    let failure = view.first_failure.as_ref();
    let of_failure = failure.into_iter().flat_map(|failure| {
        [Some(&failure.step), failure.reported.as_ref(), failure.message.as_ref()].into_iter().flatten()
    });
    let texts = [Some(&view.label), view.name.as_ref()].into_iter().flatten().chain(&view.tags).chain(of_failure);
    let mut words = BTreeSet::new();
    for word in texts.flat_map(|text| in_text(text)) {
        if words.len() == MAX_WORDS {
            break;
        }
        words.insert(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_words_at_whatever_is_no_letter_and_no_digit() {
        let words = |text: &str| in_text(text).collect::<Vec<_>>();
        assert_eq!(words("Shop/cart[os=linux]: pay_now, 2x"), ["shop", "cart", "os", "linux", "pay", "now", "2x"]);
        assert_eq!(words("Größe ÉTÉ 鍵"), ["größe", "été", "鍵"]);
        assert_eq!(words("  --  "), [""; 0]);
        assert_eq!(words(&"x".repeat(1_000)), ["x".repeat(MAX_WORD_CHARS)]);
    }
}
