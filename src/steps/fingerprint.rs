//! The fingerprint of an error message: the same for messages that differ only in what changes from run to run.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use testledger_schemas::Hash;

/// The name and version of the rule below. A changed rule gets a new name: old and new fingerprints never mix.
pub const RULE: &str = "fp1";

/// So many bytes of a message, from its beginning, decide.
const MAX_BYTES: usize = 16 * 1024;
/// So many hexadecimal digits a fingerprint has.
const DIGITS: usize = 16;

/// What stands for a number.
const NUMBER: &str = "<n>";

/// What changes from run to run, and what stands for it. Applied in this order.
///
/// 1. terminal escape sequences (ECMA-48 CSI, and OSC up to its end) are taken out;
/// 2. UUIDs;
/// 3. times: RFC 3339 and its relatives (space for `T`, comma for the point), a date alone, a time of day alone;
/// 4. the temporary folder with the first name below it (`/tmp/x`, `/var/tmp/x`, `/dev/shm/x`, macOS's `/var/folders`,
///    Windows's `...\Temp\x`): what follows is kept;
/// 5. durations: a number with a unit of time, or several of them; the unit goes too, since tools pick it by size;
/// 6. numbers, with sign, point, digit groups and exponent (a line and its column are two numbers), addresses (`0x...`)
///    and runs of 8 or more hexadecimal digits with a decimal digit among them (hashes);
/// 7. white space: one space for a run of it, none at the ends.
const STEPS: [(&str, &str); 7] = [
    (r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", ""),
    (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (
        r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[ ]?[+-][0-9]{2}:?[0-9]{2})?)?\b|\b[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?\b",
        "<time>",
    ),
    (
        r#"(?:(?:/private)?(?:/var)?/tmp|/dev/shm|(?:/private)?/var/folders/[^/\s]+/[^/\s]+/T|(?i:[a-z]:\\[^\s"'<>|]*\\te?mp))[/\\][^/\\\s"'<>|:,;)\]]+"#,
        "<tmp>",
    ),
    (
        r"\b[0-9]+(?:[.,][0-9]+)?\s?(?:ns|us|µs|μs|ms|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b(?:\s?[0-9]+(?:[.,][0-9]+)?\s?(?:ns|us|µs|μs|ms|s|secs?|seconds?|m|mins?|minutes?)\b)*",
        "<duration>",
    ),
    (
        r"(^|[^0-9A-Za-z_])[-+]?(?:[0-9]+(?:[._,][0-9]+)*(?:[eE][-+]?[0-9]+)?\b|0[xX][0-9a-fA-F]+|[0-9a-fA-F]{8,}\b|[0-9]+(?:[._,][0-9]+)*)|[0-9]+(?:[._,][0-9]+)*",
        NUMBER,
    ),
    (r"\s+", " "),
];

/// The steps, compiled once. A pattern that is none would be left out; a test holds that all are there.
static COMPILED: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    STEPS.iter().filter_map(|(pattern, instead)| Some((Regex::new(pattern).ok()?, *instead))).collect()
});

/// The fingerprint of a message by the rule [`RULE`]: the first 16 hexadecimal digits of SHA-256 over the rule's name, a
/// line break and the [`normalised`] message.
#[must_use]
pub fn fingerprint(message: &str) -> String {
    let text = normalised(message);
    let mut digits = Hash::of_parts(&[RULE.as_bytes(), b"\n", text.as_bytes()]).to_string();
    digits.truncate(DIGITS);
    digits
}

/// The message with everything replaced that changes from run to run: numbers, addresses, UUIDs, times, durations,
/// temporary folders. Of a longer message only the first 16 KiB count.
#[must_use]
pub fn normalised(message: &str) -> String {
    let mut text = Cow::Borrowed(&message[..message.floor_char_boundary(MAX_BYTES)]);
    for (pattern, instead) in COMPILED.iter() {
        let next = if *instead == NUMBER {
            pattern.replace_all(&text, number_unless_a_word)
        } else {
            pattern.replace_all(&text, *instead)
        };
        if let Cow::Owned(changed) = next {
            text = Cow::Owned(changed);
        }
    }
    text.trim().to_owned()
}

/// What stands for a number; letters from a to f alone are a word, not a hash.
fn number_unless_a_word(found: &Captures) -> String {
    if found[0].bytes().any(|byte| byte.is_ascii_digit()) {
        format!("{}{NUMBER}", found.get(1).map_or("", |before| before.as_str()))
    } else {
        found[0].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_step_is_a_pattern() {
        for (pattern, _) in STEPS {
            Regex::new(pattern).unwrap();
        }
        assert_eq!(COMPILED.len(), STEPS.len());
    }

    #[test]
    fn what_changes_from_run_to_run_is_replaced() {
        for (message, expected) in [
            ("assert 3 == -4.5e-7", "assert <n> == <n>"),
            ("<Foo object at 0x7f3a9c>", "<Foo object at <n>>"),
            ("order 8E03978E-40D5-43E8-BC93-6894A57F9324 lost", "order <uuid> lost"),
            ("at 2026-11-23T09:12:00.007Z: no", "at <time>: no"),
            ("at 2026-11-23 09:12:00,007 +0100: no", "at <time>: no"),
            ("09:12:00.5 up", "<time> up"),
            ("took 1.5s", "took <duration>"),
            ("took 1500 ms", "took <duration>"),
            ("took 1h 2m 3s", "took <duration>"),
            ("no /tmp/pytest-of-ada/pytest-12/test_x0/out.txt", "no <tmp>/pytest-<n>/test_x<n>/out.txt"),
            ("no /private/var/folders/zz/q9/T/tmpab3/f", "no <tmp>/f"),
            (r"no C:\Users\Ada\AppData\Local\Temp\tmp3k\f.txt", r"no <tmp>\f.txt"),
            ("src/lib.rs:12:5: panicked", "src/lib.rs:<n>:<n>: panicked"),
            ("commit f6346c9ab1 is facade deadbeef", "commit <n> is facade deadbeef"),
            ("\u{1b}[31mred\u{1b}[0m  and\n\tblack ", "red and black"),
            ("1,234 of 1_000", "<n> of <n>"),
        ] {
            assert_eq!(normalised(message), expected, "{message}");
        }
    }

    #[test]
    fn a_fingerprint_never_changes_while_the_rule_has_its_name() {
        assert_eq!(fingerprint("assert 3 == 4"), fingerprint("assert 17 == 0.5"));
        assert_ne!(fingerprint("assert 3 == 4"), fingerprint("assert 3 != 4"));
        assert_eq!(fingerprint("assert 3 == 4"), "9eaf5a121046b686");
        assert_eq!(fingerprint("").len(), DIGITS);
    }

    proptest! {
        #[test]
        fn numbers_never_matter(a in any::<i64>(), b in any::<f64>(), c in any::<u64>(), d in any::<u128>()) {
            prop_assume!(b.is_finite());
            let message = |a: i64, b: f64, c: u64, d: u128| format!("got {a}, not {b:e} at {c:#x} ({})", uuid::Uuid::from_u128(d));
            prop_assert_eq!(fingerprint(&message(a, b, c, d)), fingerprint(&message(1, 2.0, 3, 4)));
        }

        #[test]
        fn any_text_has_a_fingerprint(text in "\\PC*") {
            prop_assert_eq!(fingerprint(&text).len(), DIGITS);
        }
    }
}
