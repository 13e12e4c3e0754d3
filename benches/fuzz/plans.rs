//! The plan parser as a target: texts near good and broken plans, trees of the plan's words, noise.

use std::fs;
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use testledger::plan::{Origin, parse};

use super::{Target, mutate};

/// Longer plans of the corpus are left out: they test limits, and each costs as much as thousands of short ones.
const MAX_PLAN_BYTES: u64 = 4096;
/// Left out for the same reason.
const COSTLY: &str = "08-alias-bomb.yaml";

/// Words that mean something in a plan, in YAML or in a template.
const WORDS: [&str; 96] = [
    "suite",
    "name",
    "defaults",
    "concurrency",
    "fail_fast",
    "deadline",
    "env",
    "secrets",
    "params",
    "services",
    "cases",
    "id",
    "type",
    "generic",
    "bdd",
    "manual",
    "tags",
    "priority",
    "high",
    "needs",
    "timeout",
    "retries",
    "max_attempts",
    "backoff",
    "factor",
    "resume",
    "matrix",
    "directory",
    "steps",
    "run",
    "http",
    "expect",
    "capture",
    "report",
    "junit",
    "on_interrupt",
    "method",
    "url",
    "query",
    "headers",
    "json",
    "form",
    "text",
    "exit",
    "stdout",
    "status",
    "within",
    "equals",
    "contains",
    "matches",
    "exists",
    "regex",
    "header",
    "secret",
    "ready",
    "tcp",
    "log",
    "30s",
    "1h",
    "0s",
    "2xx",
    "200",
    "{{ env.A }}",
    "{{",
    "}}",
    "{% for x in range(9) %}",
    "{{ a.b.c }}",
    "{{ 'a' * 9 }}",
    "$.a",
    "$..*",
    "(",
    "[a-",
    "http://x/",
    "true",
    "null",
    "~",
    "0x1f",
    "1e9",
    ".inf",
    "1_000",
    "!!str",
    "!!binary",
    "&a",
    "*a",
    "<<",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "\t",
    "? ",
    "---\n",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "\0",
];

/// The plan parser.
pub struct Plans {
    corpus: Vec<Vec<u8>>,
    good: Vec<Value>,
    origin: Origin,
}

impl Plans {
    /// The parser with the golden plans as its corpus.
    pub fn load() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
        let mut files = vec![];
        for kind in ["good", "broken"] {
            let entries = fs::read_dir(folder.join(kind)).into_iter().flatten().flatten();
            files.extend(entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.len() <= MAX_PLAN_BYTES)));
        }
        let mut paths: Vec<_> = files.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml") && !path.ends_with(COSTLY));
        paths.sort();
        let corpus: Vec<Vec<u8>> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
        assert!(corpus.len() > 40, "the golden plans are missing");
        let good = corpus.iter().filter_map(|text| as_json(&String::from_utf8_lossy(text))).collect();
        Self { corpus, good, origin: Origin::of_file(Path::new("fuzz.yaml"), "/plans".into()) }
    }
}

/// A plan that is good as YAML as JSON text, which is YAML too.
fn as_json(text: &str) -> Option<Value> {
    let origin = Origin::of_file(Path::new("corpus.yaml"), "/plans".into());
    parse(text, &origin).ok()?;
    serde_saphyr::from_str(text).ok()
}

impl Target for Plans {
    fn name(&self) -> &'static str {
        "plan parser"
    }

    fn input(&self, rng: &mut StdRng) -> Vec<u8> {
        match rng.random_range(0..10) {
            0 => mutate::noise(rng),
            1..=2 => mutate::any_value(rng, &WORDS, 6).to_string().into_bytes(),
            3..=5 => {
                let mut plan = self.good[rng.random_range(0..self.good.len())].clone();
                (0..rng.random_range(0..3)).for_each(|_| mutate::value(rng, &mut plan, &WORDS));
                plan.to_string().into_bytes()
            }
            _ => {
                let mut text = self.corpus[rng.random_range(0..self.corpus.len())].clone();
                mutate::bytes(rng, &mut text, &WORDS, &self.corpus);
                text
            }
        }
    }

    fn read(&self, input: &[u8]) -> bool {
        let text = String::from_utf8_lossy(input);
        match parse(&text, &self.origin) {
            Ok(plan) => {
                let again = serde_json::from_slice(&plan.to_bytes()).ok();
                assert_eq!(again.as_ref(), Some(&plan), "a plan survives its artifact");
                assert!(!plan.cases.is_empty());
                true
            }
            Err(errors) => {
                assert!(!errors.problems.is_empty());
                for problem in &errors.problems {
                    assert!(problem.place.line >= 1 && problem.place.column >= 1, "{problem:?}");
                    assert!(problem.place.offset + problem.place.length <= text.len(), "{problem:?}");
                    assert!(!problem.message.is_empty() && !problem.mend.is_empty(), "{problem:?}");
                }
                assert!(!errors.to_string().is_empty());
                false
            }
        }
    }
}
