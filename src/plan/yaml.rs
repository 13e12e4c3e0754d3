//! Reads YAML within limits: once as a tree with places, once as the document. Its errors get words of ours.

use serde::de::DeserializeOwned;
use serde_saphyr::{Budget, Error, Options};
use testledger_schemas::plan::document::PlanDocument;

use super::limits::{MAX_ALIASES, MAX_DEPTH, MAX_NODES, MAX_REPEATED_NODES, MAX_TEXT_BYTES};
use super::problem::{Problem, shown, visible};
use super::tree::{Node, Place, Value};

/// The text as a tree.
///
/// # Errors
/// What is wrong with it as YAML.
pub fn tree(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the file has {} bytes", text.len());
        return Err(whole(message, format!("keep it under {MAX_TEXT_BYTES} bytes: make several plans of it")));
    }
    let tree: Node = read(text)?;
    match &tree.value {
        Value::Map(_) => Ok(tree),
        Value::Null => {
            Err(whole("the file is empty".to_owned(), "write a plan: at least `cases:` with one case".to_owned()))
        }
        other => {
            Err(whole(format!("this is {} and not a plan", other.kind()), "write a mapping with `cases:`".to_owned()))
        }
    }
}

/// The text as a document. Its shape has been checked, so what fails here is rare.
///
/// # Errors
/// What does not fit.
pub fn document(text: &str) -> Result<PlanDocument, Problem> {
    read(text)
}

fn whole(message: String, mend: String) -> Problem {
    Problem { place: Place { line: 1, column: 1, offset: 0, length: 0 }, field: String::new(), message, mend }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| problem(&error, text))
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_nodes = MAX_NODES;
    budget.max_events = 3 * MAX_NODES;
    budget.max_aliases = MAX_ALIASES;
    budget.max_anchors = MAX_ALIASES;
    budget.max_recorded_anchor_events = MAX_REPEATED_NODES;
    budget.max_documents = 2;
    budget.max_total_scalar_bytes = 4 * MAX_TEXT_BYTES;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.alias_limits.max_total_replayed_events = MAX_REPEATED_NODES;
    options.emit_comments = false;
    options
}

fn problem(error: &Error, text: &str) -> Problem {
    let error = match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        other => other,
    };
    let place =
        error.location().map_or(Place { line: 1, column: 1, ..Place::default() }, |at| Place::of(at).found_in(text));
    let (message, mend) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map(shown).unwrap_or_default();
            (format!("the key `{key}` stands here twice"), "keep one of the two")
        }
        Error::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "keep one plan per file: take the `---` and what follows it away",
        ),
        Error::UnknownAnchor { .. } => {
            ("this alias has no anchor".to_owned(), "define the anchor (`&name`) above, or put the text in quotes")
        }
        Error::NullIntoString { .. } => ("there is no text here".to_owned(), "write a text; an empty one is `\"\"`"),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            "here the file is larger than a plan may be, with its aliases written out".to_owned(),
            "make the file smaller, flatter, or with fewer aliases",
        ),
        other if other.to_string().contains("recursion limit exceeded") => (
            format!("here the file is nested deeper than {MAX_DEPTH} levels"),
            "make the file flatter: a plan needs no more than a dozen levels",
        ),
        other => {
            (without_place(&other.to_string()), "check indentation, colons and quotes here and on the line before")
        }
    };
    Problem { place, field: String::new(), message, mend: mend.to_owned() }
}

/// The message on one line and without the place it ends with: that stands before it.
fn without_place(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = line.split(" at line ").next().unwrap_or(line);
    visible(line.trim())
}
