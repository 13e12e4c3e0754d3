//! The names of reported test cases: unique within a report, and the same from run to run whatever the order.

use std::collections::{HashMap, HashSet};

use testledger_schemas::Hash;

use super::raw::RawCase;

/// The most bytes a name has; a longer one is cut and ends in 16 digits of its SHA-256.
pub const MAX_NAME_BYTES: usize = 1024;
/// What a cut name ends in: an ellipsis (3 bytes) and 16 digits.
const CUT_BYTES: usize = 3 + 16;

/// The name of each case, in order.
///
/// A name is `place::name`. The place is the case's `classname`; where that is missing or says nothing (node's runner
/// writes `test` for all), the names of the enclosing suites, outermost first; where there are none, its `file`, unless
/// absolute. A place that equals the name is left out (CTest, jest-junit).
///
/// Where the same name occurs in different suites, the suites' names are put before it. What is still the same gets
/// `#2`, `#3` in the report's order: of a test that a tool reports several times, nothing else tells one from another.
pub(super) fn names(cases: &[RawCase]) -> Vec<String> {
    let mut names: Vec<String> = cases.iter().map(plain).collect();
    let homeless = in_several_suites(cases, &names);
    for (case, name) in cases.iter().zip(&mut names) {
        if homeless.contains(name.as_str()) && !case.suites.is_empty() {
            *name = bounded(format!("{}::{name}", case.suites));
        }
    }
    number_repeated(&mut names);
    names
}

fn plain(case: &RawCase) -> String {
    let is_class = !case.classname.is_empty() && case.classname != "test";
    let place = if is_class {
        case.classname.as_str()
    } else if !case.suites.is_empty() {
        &case.suites
    } else if is_relative(&case.file) {
        &case.file
    } else {
        ""
    };
    let name = if case.name.is_empty() { "(no name)" } else { case.name.as_str() };
    bounded(if place.is_empty() || place == name { name.to_owned() } else { format!("{place}::{name}") })
}

/// An absolute path differs from machine to machine.
fn is_relative(file: &str) -> bool {
    !file.starts_with(['/', '\\']) && !file.starts_with("file:") && file.as_bytes().get(1) != Some(&b':')
}

/// The names that occur under more than one path of suites.
fn in_several_suites(cases: &[RawCase], names: &[String]) -> HashSet<String> {
    let mut home: HashMap<&str, &str> = HashMap::new();
    let mut homeless = HashSet::new();
    for (case, name) in cases.iter().zip(names) {
        if *home.entry(name).or_insert(&case.suites) != &*case.suites {
            homeless.insert(name.clone());
        }
    }
    homeless
}

fn number_repeated(names: &mut [String]) {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for name in names {
        let count = seen.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            continue;
        }
        // A tool may itself have written `name#2`: then the next free number. Bounded by the number of names.
        let base = name.clone();
        loop {
            *name = format!("{base}#{count}");
            if taken.insert(name.clone()) {
                break;
            }
            *count += 1;
        }
    }
}

/// The name, cut to [`MAX_NAME_BYTES`] so that two long names that differ anywhere still differ.
fn bounded(name: String) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name;
    }
    let digest = Hash::of(name.as_bytes()).to_string();
    format!("{}…{}", &name[..name.floor_char_boundary(MAX_NAME_BYTES - CUT_BYTES)], &digest[..16])
}
