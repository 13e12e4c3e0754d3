//! Reads what is kept of a step's result.

use std::collections::BTreeMap;

use testledger_schemas::plan::document::{CaptureDocument, StepDocument};
use testledger_schemas::plan::{Action, Capture, CaptureSource};

use super::names::RESERVED;
use super::problem::shown;
use super::reader::Reader;
use super::request::is_header_name;
use super::template;
use super::tree::Path;

/// The captures of a step, by name.
pub fn read(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    action: &Action,
) -> BTreeMap<String, Capture> {
    let mut captures = BTreeMap::new();
    for (name, document) in &step.capture {
        let below = path.key(name);
        reader.template_name(&below, name);
        if RESERVED.contains(&name.as_str()) {
            let message = format!("`{name}` means something else in templates");
            reader.wrong_key(&below, message, format!("choose another name, such as `my_{name}`"));
        }
        if let Some(from) = source(reader, &below, document) {
            if matches!(action, Action::Run(_)) && !fits_a_command(&from) {
                let mend = "capture `json`, `regex` or `text` of its standard output";
                reader.wrong(&below, "a command has neither headers nor a status", mend);
            }
            captures.insert(name.clone(), Capture { from, secret: document.secret });
        }
    }
    captures
}

/// Whether a capture can be made of a command's result: header and status belong to responses.
#[must_use]
pub fn fits_a_command(source: &CaptureSource) -> bool {
    match source {
        CaptureSource::Json(_) | CaptureSource::Regex(_) | CaptureSource::Text => true,
        CaptureSource::Header(_) | CaptureSource::Status => false,
    }
}

fn source(reader: &mut Reader<'_>, path: &Path<'_>, document: &CaptureDocument) -> Option<CaptureSource> {
    let mut sources = vec![];
    if let Some(json) = &document.json {
        reader.json_path(&path.key("json"), json);
        sources.push(CaptureSource::Json(json.clone()));
    }
    if let Some(header) = &document.header {
        if !is_header_name(header) {
            let message = format!("`{}` is not the name of a header field", shown(header));
            reader.wrong(&path.key("header"), message, "write one such as `location`");
        }
        sources.push(CaptureSource::Header(header.to_lowercase()));
    }
    if let Some(regex) = &document.regex {
        if template::is_template(regex) {
            reader.wrong(&path.key("regex"), "a capture cannot be a template", "write the expression itself");
        }
        reader.regex(&path.key("regex"), regex);
        sources.push(CaptureSource::Regex(regex.clone()));
    }
    sources.extend(document.text.filter(|is_on| *is_on).map(|_| CaptureSource::Text));
    sources.extend(document.status.filter(|is_on| *is_on).map(|_| CaptureSource::Status));
    if sources.len() != 1 {
        let message = format!("a capture has one source and this has {}", sources.len());
        reader.wrong(path, message, "keep one of `json`, `header`, `regex`, `text: true` and `status: true`");
    }
    sources.pop()
}
