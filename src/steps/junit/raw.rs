//! Test cases as the report has them, before they are judged and named.

use std::sync::Arc;

use quick_xml::events::BytesStart;

use super::escape::resolved;
use super::outcome::Element;

/// A test case as the report has it.
#[derive(Clone, Debug, Default)]
pub(super) struct RawCase {
    pub(super) classname: String,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) time: Option<String>,
    pub(super) status: String,
    /// The names of the enclosing suites, outermost first, joined by `::`.
    pub(super) suites: Arc<str>,
    pub(super) verdicts: Vec<RawVerdict>,
}

impl RawCase {
    /// Changes every text that will be recorded.
    pub(super) fn change_texts(&mut self, change: &dyn Fn(&str) -> String) {
        let suites = change(&self.suites);
        if *suites != *self.suites {
            self.suites = Arc::from(suites);
        }
        for text in [&mut self.classname, &mut self.name, &mut self.file] {
            *text = change(text);
        }
        for verdict in &mut self.verdicts {
            // The type is changed too: it stands for the message where there is none.
            for text in [&mut verdict.kind, &mut verdict.message, &mut verdict.text] {
                *text = change(text);
            }
        }
    }
}

/// A child element that says how a test case ended.
#[derive(Clone, Debug)]
pub(super) struct RawVerdict {
    pub(super) element: Element,
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) text: String,
}

impl RawVerdict {
    /// Whether its message (or, where there is none, its text) begins so.
    pub(super) fn says(&self, start: &str) -> bool {
        let said = if self.message.is_empty() { self.text.trim_start() } else { &self.message };
        said.starts_with(start)
    }
}

/// What the attributes of a test case (or, for its name, of a suite) say.
pub(super) fn attributes(start: &BytesStart) -> RawCase {
    let [classname, name, file, time, status, result] =
        values(start, ["classname", "name", "file", "time", "status", "result"]);
    // GoogleTest before 1.10 has `status`, later ones `result` too; xUnit converters have `result` only.
    let status = status.filter(|status| status != "run").or(result).unwrap_or_default();
    RawCase {
        classname: classname.unwrap_or_default(),
        name: name.unwrap_or_default(),
        file: file.unwrap_or_default(),
        time,
        status,
        ..RawCase::default()
    }
}

/// The values of these attributes. One that is not well-formed is passed over with those after it.
pub(super) fn values<const N: usize>(start: &BytesStart, names: [&str; N]) -> [Option<String>; N] {
    let mut values = [const { None }; N];
    for attribute in start.attributes().with_checks(false).filter_map(Result::ok) {
        let Some(at) = names.iter().position(|name| name.as_bytes() == attribute.key.as_ref()) else { continue };
        values[at] = Some(resolved(&String::from_utf8_lossy(&attribute.value)).into_owned());
    }
    values
}
