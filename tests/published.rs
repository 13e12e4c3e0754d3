//! The published JSON Schemas are those of the code: the files, and that they are schemas.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testledger::published;
use testledger_schemas::published::to_text;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/json")
}

#[test]
fn the_files_are_what_the_types_say() {
    for (name, schema) in published::all() {
        let file = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(file == to_text(&schema), "{name} is out of date: make schemas");
    }
}

#[test]
fn there_is_no_other_file() {
    let there = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let published = published::all().into_iter().map(|(name, _)| name.to_owned());
    assert_eq!(there.collect::<BTreeSet<_>>(), published.collect::<BTreeSet<_>>());
}

#[test]
fn every_one_is_a_schema_with_a_title_of_its_own() {
    let all = published::all();
    for (name, schema) in &all {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(jsonschema::meta::validate(schema).is_ok(), "{name}: {:?}", jsonschema::meta::validate(schema).err());
        // Compiling it also follows every reference.
        assert!(jsonschema::validator_for(schema).is_ok(), "{name}: {:?}", jsonschema::validator_for(schema).err());
    }
    let titles: BTreeSet<_> = all.iter().filter_map(|(_, schema)| schema["title"].as_str()).collect();
    assert_eq!(titles.len(), all.len());
    assert!(titles.iter().all(|title| title.starts_with("testledger ")), "{titles:?}");
}
