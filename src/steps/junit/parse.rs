//! From XML to raw test cases: a stack of open elements over quick-xml's events, everything bounded.

use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::ReportError;
use super::escape::resolved;
use super::outcome::Element;
use super::raw::{RawCase, RawVerdict, attributes, values};

/// The most test cases a report may have.
pub const MAX_CASES: usize = 1_000_000;
/// The most elements that may stand one within another.
pub const MAX_DEPTH: usize = 64;
/// The most bytes that the names of the enclosing suites may have together.
const MAX_SUITES_BYTES: usize = 512;

/// An element that is open.
enum Open {
    /// `<testsuites>`, `<testsuite>`: the path of suites within it.
    Suite(Arc<str>),
    /// `<testcase>`.
    Case,
    /// A child of a test case that says how it ended.
    Verdict,
    /// `<stackTrace>` within such a child: its text belongs to it.
    Trace,
    /// Anything else: its text is nobody's.
    Other,
}

/// The test cases of a report, in its order.
pub(super) fn parse(text: &str) -> Result<Vec<RawCase>, ReportError> {
    let mut parser = Parser { reader: Reader::from_str(text), text, open: vec![], cases: vec![], seen_root: false };
    parser.reader.config_mut().allow_dangling_amp = true;
    while parser.step()? {}
    if parser.seen_root { Ok(parser.cases) } else { Err(ReportError::Empty) }
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    open: Vec<Open>,
    cases: Vec<RawCase>,
    seen_root: bool,
}

impl Parser<'_> {
    /// Reads one event. False at the end. Each step consumes input, so the input bounds their number.
    fn step(&mut self) -> Result<bool, ReportError> {
        let event = self.reader.read_event().map_err(|error| {
            let place = usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX);
            self.wrong(place, error.to_string(), "let the tool write the report again")
        })?;
        match event {
            Event::Start(start) => self.start(&start)?,
            Event::Empty(start) => {
                self.start(&start)?;
                self.open.pop();
            }
            Event::End(_) => {
                self.open.pop();
            }
            Event::Text(text) => {
                let text = text.decode().unwrap_or_default();
                if !self.seen_root && !text.trim().is_empty() {
                    let problem = "the file does not begin with an element".to_owned();
                    return Err(self.wrong_here(problem, "a JUnit report is XML: look at what this step's tool writes"));
                }
                self.add_text(&text);
            }
            Event::CData(text) => self.add_text(&text.decode().unwrap_or_default()),
            Event::GeneralRef(reference) => self.add_text(&reference_text(&reference)),
            Event::DocType(_) => {
                let mend = "a JUnit report needs none, and what it declares is never expanded";
                return Err(self.wrong_here("a document type declaration (DTD)".into(), mend));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return self.end().map(|()| false),
        }
        Ok(true)
    }

    fn end(&self) -> Result<(), ReportError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let problem = format!("the report ends within {} open element(s)", self.open.len());
        Err(self.wrong(self.text.len(), problem, "its tool was stopped before it had written everything; run it again"))
    }

    fn start(&mut self, start: &BytesStart) -> Result<(), ReportError> {
        if self.open.len() >= MAX_DEPTH {
            let problem = format!("more than {MAX_DEPTH} elements stand one within another");
            return Err(self.wrong_here(problem, "no tool nests test suites so deep; look at what wrote this"));
        }
        let opened = match self.open.last() {
            None => self.root(start)?,
            Some(Open::Suite(path)) => match start.local_name().as_ref() {
                b"testsuite" | b"testsuites" => Open::Suite(suite_path(path, &attributes(start).name)),
                b"testcase" => self.case(start, Arc::clone(path))?,
                _ => Open::Other,
            },
            Some(Open::Case) => self.child(start),
            Some(Open::Verdict) if start.local_name().as_ref() == b"stackTrace" => Open::Trace,
            // The output of an earlier try (`<system-out>`) is no message.
            Some(Open::Verdict | Open::Trace | Open::Other) => Open::Other,
        };
        self.open.push(opened);
        Ok(())
    }

    fn root(&mut self, start: &BytesStart) -> Result<Open, ReportError> {
        let name = start.local_name();
        if self.seen_root {
            let problem = "a second report begins here".to_owned();
            return Err(self.wrong_here(problem, "write each report to a file of its own"));
        }
        self.seen_root = true;
        match name.as_ref() {
            // The name of the whole report says nothing of where a case belongs.
            b"testsuites" => Ok(Open::Suite(Arc::from(""))),
            b"testsuite" => Ok(Open::Suite(suite_path("", &attributes(start).name))),
            other => {
                let problem = format!("the root element is `{}`", String::from_utf8_lossy(other));
                Err(self.wrong_here(problem, "a JUnit report begins with `testsuites` or `testsuite`"))
            }
        }
    }

    fn case(&mut self, start: &BytesStart, suites: Arc<str>) -> Result<Open, ReportError> {
        if self.cases.len() >= MAX_CASES {
            let problem = format!("more than {MAX_CASES} test cases");
            return Err(self.wrong_here(problem, "split the run into several steps"));
        }
        self.cases.push(RawCase { suites, ..attributes(start) });
        Ok(Open::Case)
    }

    fn child(&mut self, start: &BytesStart) -> Open {
        let (Some(element), Some(case)) = (Element::of(start.local_name().as_ref()), self.cases.last_mut()) else {
            return Open::Other;
        };
        let [kind, message] = values(start, ["type", "message"]).map(Option::unwrap_or_default);
        case.verdicts.push(RawVerdict { element, kind, message, text: String::new() });
        Open::Verdict
    }

    fn add_text(&mut self, text: &str) {
        if let Some(Open::Verdict | Open::Trace) = self.open.last()
            && let Some(verdict) = self.cases.last_mut().and_then(|case| case.verdicts.last_mut())
        {
            verdict.text.push_str(text);
        }
    }

    fn wrong_here(&self, problem: String, mend: &'static str) -> ReportError {
        let end = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX).min(self.text.len());
        // The reader stands behind the markup: its place is where it began.
        let place = self.text.as_bytes()[..end].iter().rposition(|byte| *byte == b'<').unwrap_or(end);
        self.wrong(place, problem, mend)
    }

    fn wrong(&self, place: usize, problem: String, mend: &'static str) -> ReportError {
        let before = &self.text[..self.text.floor_char_boundary(place)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        ReportError::Malformed { line, column: before[line_start..].chars().count() + 1, problem, mend }
    }
}

/// A character for its reference; a reference to anything else stands as it is written, since nothing is declared.
fn reference_text(reference: &BytesRef) -> String {
    resolved(&format!("&{};", reference.decode().unwrap_or_default())).into_owned()
}

fn suite_path(outer: &str, name: &str) -> Arc<str> {
    let joined = match (outer.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => outer.to_owned(),
        (false, false) => format!("{outer}::{name}"),
    };
    Arc::from(&joined[..joined.floor_char_boundary(MAX_SUITES_BYTES)])
}
