//! The reader of JUnit reports as a target: reports near those that tools write, trees of a report's words, noise.

use std::fs;
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;
use testledger::steps::junit::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES, chunks, read_redacted};

use super::{Target, mutate};

/// What stands for a secret: it must be nowhere in what is read.
const SECRET: &str = "hunter22";
/// Words that mean something in XML or in a report.
const WORDS: [&str; 48] = [
    "<testsuites>",
    "</testsuites>",
    "<testsuite name=\"a\" time=\"1\">",
    "</testsuite>",
    "<testcase name=\"t\" classname=\"c\">",
    "<testcase name='' time='1,234.5'/>",
    "<testcase/>",
    "</testcase>",
    "<failure message=\"m\" type=\"t\">",
    "</failure>",
    "<error/>",
    "<skipped message=\"why\"/>",
    "<rerunFailure/>",
    "<flakyFailure message='f'/>",
    "<system-out>",
    "</system-out>",
    "<properties><property name='a' value='b'/></properties>",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
    "<?xml version='1.0' encoding='ISO-8859-1'?>",
    "<!DOCTYPE a [<!ENTITY b \"&b;&b;\">]>",
    "&b;",
    "&amp;",
    "&#x0;",
    "&#x10FFFF;",
    "&#xD800;",
    "&",
    "<",
    ">",
    "/>",
    "\"",
    "'",
    "=",
    " time=\"-1\"",
    " time=\"NaN\"",
    " time=\"1e308\"",
    " status=\"notrun\"",
    " result=\"suppressed\"",
    " name=\"\u{1f600}\u{301}\"",
    " xmlns:x=\"x\"",
    SECRET,
    "\u{0}",
    "\u{feff}",
    "#x1B[31m",
    "\n",
];
/// How deep a generated tree goes.
const MAX_DEPTH: usize = 6;

/// Reads reports.
pub struct Reports {
    fixtures: Vec<Vec<u8>>,
}

impl Reports {
    /// The reader with the reports of real tools as the source of good ones.
    pub fn load() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/steps/junit/fixtures");
        let mut paths: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        // The order of a folder is its own: one seed must mean the same inputs everywhere.
        paths.sort();
        let fixtures: Vec<_> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
        assert!(fixtures.len() > 5, "where are the reports of the tools?");
        Self { fixtures }
    }

    fn near(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut text = self.fixtures[rng.random_range(0..self.fixtures.len())].clone();
        mutate::bytes(rng, &mut text, &WORDS, &self.fixtures);
        text
    }
}

/// A well-formed tree of elements, some of them a report's.
fn tree(rng: &mut StdRng, depth: usize) -> String {
    const NAMES: [&str; 9] =
        ["testsuites", "testsuite", "testcase", "failure", "error", "skipped", "rerunError", "system-err", "other"];
    const ATTRIBUTES: [&str; 8] = ["name", "classname", "time", "message", "type", "status", "result", "file"];
    const VALUES: [&str; 9] = ["", "0.5", "-3", "1,000.25", "run", "notrun", "a b", "hunter22", "&lt;&#10;&quot;"];
    let name = if depth == MAX_DEPTH { NAMES[rng.random_range(0..2)] } else { mutate::pick(rng, &NAMES) };
    let mut text = format!("<{name}");
    for attribute in ATTRIBUTES {
        if rng.random_bool(0.3) {
            text += &format!(" {attribute}=\"{}\"", mutate::pick(rng, &VALUES));
        }
    }
    text += ">";
    for _ in 0..if depth == 0 { 0 } else { rng.random_range(0..4) } {
        let below = if rng.random_bool(0.2) { mutate::pick(rng, &VALUES).to_owned() } else { tree(rng, depth - 1) };
        text += &below;
    }
    text + &format!("</{name}>")
}

impl Target for Reports {
    fn name(&self) -> &'static str {
        "junit report"
    }

    fn input(&self, rng: &mut StdRng) -> Vec<u8> {
        match rng.random_range(0..10) {
            0 => mutate::noise(rng),
            1..=3 => tree(rng, MAX_DEPTH).into_bytes(),
            _ => self.near(rng),
        }
    }

    /// Whatever is accepted is bounded, has names of its own, shows no secret, and loses nothing when it is cut in chunks.
    fn read(&self, input: &[u8]) -> bool {
        let redact = |text: &str| text.replace(SECRET, "***");
        let Ok(reported) = read_redacted(input, ("suite", "case", ""), &redact) else { return false };
        let mut names = std::collections::BTreeSet::new();
        for one in &reported {
            assert!(one.case.message.len() <= MAX_MESSAGE_BYTES, "a message of {} bytes", one.case.message.len());
            assert!(one.case.name.len() <= MAX_NAME_BYTES, "a name of {} bytes", one.case.name.len());
            assert!(!one.case.message.contains(SECRET) && !one.case.name.contains(SECRET), "a secret is shown");
            assert!(names.insert(&one.case.name), "`{}` twice", one.case.name);
        }
        let count: usize = chunks(reported.clone()).iter().map(Vec::len).sum();
        assert_eq!(count, reported.len(), "chunks lose results");
        true
    }
}
