//! What the result of a step must be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the result of a command must be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExpect {
    /// The exit codes that pass; `[0]` by default.
    pub exit_codes: Vec<i32>,
    /// What the standard output must be like; held against the kept part of it.
    pub stdout: TextExpect,
    /// What the standard error must be like.
    pub stderr: TextExpect,
    /// The longest it may take.
    pub within_ms: Option<u64>,
}

/// What a text must be like. Everything given must hold; templates.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextExpect {
    /// It is exactly this.
    pub equals: Option<String>,
    /// It has each of these in it.
    pub contains: Vec<String>,
    /// It has none of these in it.
    pub not_contains: Vec<String>,
    /// Each of these regular expressions is found in it.
    pub matches: Vec<String>,
}

/// What a response must be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpExpect {
    /// The status codes that pass, as inclusive ranges; 200 to 399 by default.
    pub status: Vec<(u16, u16)>,
    /// What header fields must be like, by lower-case name.
    pub headers: BTreeMap<String, ValueExpect>,
    /// What the values at these JSONPaths (RFC 9535) must be like.
    pub json: BTreeMap<String, ValueExpect>,
    /// What the body as text must be like.
    pub text: TextExpect,
    /// The longest it may take from the request's begin until the whole body is there.
    pub within_ms: Option<u64>,
}

/// What one value must be like. Everything given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueExpect {
    /// It is there (true), or is not there (false).
    pub exists: Option<bool>,
    /// It equals this JSON text; the texts within it are templates.
    pub equals: Option<String>,
    /// It is (as text) or holds (as a list) this; a template.
    pub contains: Option<String>,
    /// This regular expression is found in it as text.
    pub matches: Option<String>,
    /// So many characters, elements or fields.
    pub length: Option<u64>,
    /// It is at least this number, as JSON text.
    pub at_least: Option<String>,
    /// It is at most this number, as JSON text.
    pub at_most: Option<String>,
}
