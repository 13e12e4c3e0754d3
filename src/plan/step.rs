//! Reads steps: a command or an HTTP request, what is expected of it and what is kept of it.

use std::collections::BTreeMap;

use testledger_schemas::plan::document::{
    CaptureDocument, CaseDocument, CommandDocument, DefaultsDocument, ExpectDocument, HttpDocument, Pairs, ScalarText,
    StepDocument,
};
use testledger_schemas::plan::{
    Action, Capture, CaptureSource, CommandLine, HttpAction, HttpBody, Report, RunAction, Step,
};

use super::expect;
use super::names::{Known, RESERVED};
use super::problem::{nearest, shown};
use super::reader::{Reader, texts};
use super::template;
use super::tree::Path;

/// The methods that HTTP itself knows (RFC 9110, RFC 5789).
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// One step. `known` is what its templates can name; what it captures itself is not among that.
pub fn read(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
    known: &Known,
) -> Option<Step> {
    let expect = step.expect.clone().unwrap_or_default();
    let action = match (&step.run, &step.http) {
        (Some(command), None) => run(reader, path, step, command, &expect, known, case, defaults),
        (None, Some(request)) => http(reader, path, step, request, &expect, known),
        (Some(_), Some(_)) => {
            let mend = "make two steps of it: one with `run`, one with `http`";
            reader.wrong_key(&path.key("http"), "a step cannot have both `run` and `http`", mend);
            return None;
        }
        (None, None) => {
            reader.wrong(path, "this step does nothing", "add `run: [program, argument]` or `http: { url: ... }`");
            return None;
        }
    };
    let timeout = reader.duration(&path.key("timeout"), step.timeout);
    Some(Step {
        id: step.id.clone(),
        name: reader.display_name(path, step.name.as_ref(), &step.id),
        timeout_ms: timeout.or(defaults.timeout.map(|timeout| timeout.ms)),
        retries: reader.retries(step.retries.as_ref().or(defaults.step_retries.as_ref())),
        on_interrupt: step.on_interrupt.or(defaults.on_interrupt).unwrap_or_default(),
        capture: captures(reader, &path.key("capture"), step, &action),
        report: report(reader, path, step, &action, known),
        action,
    })
}

#[expect(clippy::too_many_arguments, reason = "all of them are the surroundings of one step")]
fn run(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    document: &CommandDocument,
    expect: &ExpectDocument,
    known: &Known,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
) -> Action {
    let known = known.clone().with_env(&step.env);
    let directory = step.directory.as_ref().or(case.directory.as_ref()).or(defaults.directory.as_ref()).cloned();
    if let Some(directory) = &step.directory {
        reader.template(&path.key("directory"), directory, &known);
    }
    Action::Run(RunAction {
        command: command(reader, &path.key("run"), document, &known),
        directory,
        env: reader.env(&path.key("env"), &step.env, &known),
        expect: expect::of_run(reader, &path.key("expect"), expect, &known),
    })
}

/// A command line: a list of templates, or a shell line without any.
pub fn command(reader: &mut Reader<'_>, path: &Path<'_>, document: &CommandDocument, known: &Known) -> CommandLine {
    match document {
        CommandDocument::Argv(argv) => {
            for (index, argument) in argv.iter().enumerate() {
                reader.template(&path.index(index), argument, known);
            }
            if argv.first().is_some_and(String::is_empty) {
                reader.wrong(
                    &path.index(0),
                    "the program has no name",
                    "write the program first: `[program, argument]`",
                );
            }
            CommandLine::Argv(argv.clone())
        }
        CommandDocument::Shell(line) => {
            reader.plain(path, line);
            if template::is_template(line) {
                let message = "a template inside a shell line would be pasted into code";
                reader.wrong(path, message, format!("write it as a list: `run: {}`", as_argv(line)));
            }
            if line.trim().is_empty() {
                reader.wrong(path, "this shell line is empty", "write a command");
            }
            CommandLine::Shell(line.clone())
        }
    }
}

/// The list form of a shell line: by words where nothing in it is the shell's, else through `sh -c` with arguments.
fn as_argv(line: &str) -> String {
    const SHELLS_OWN: [char; 17] =
        ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '*', '?', '[', '~', '!', '(', '\n'];
    let outside: String = template_free(line);
    if line.len() > 200 || outside.contains(SHELLS_OWN) {
        return "[sh, -c, 'command \"$1\"', sh, \"{{ name }}\"]` with the template as an argument, or put it into `env"
            .to_owned();
    }
    let words = words_around_templates(line);
    let quoted: Vec<String> = words
        .iter()
        .map(|word| if template::is_template(word) { format!("\"{word}\"") } else { word.clone() })
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// The line with every template taken out.
fn template_free(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("{{") {
        outside.push_str(&rest[..start]);
        rest = rest[start..].find("}}").map_or("", |end| &rest[start + end + 2..]);
    }
    outside + rest
}

/// Splits at blanks that are not within a template.
fn words_around_templates(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('{', Some('{')) => depth += 1,
            ('}', Some('}')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn http(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    request: &HttpDocument,
    expect: &ExpectDocument,
    known: &Known,
) -> Action {
    for (key, is_there) in [("env", !step.env.0.is_empty()), ("directory", step.directory.is_some())] {
        if is_there {
            let mend = "take it away; `env` of the plan or of the case can be named as `{{ env.NAME }}`";
            reader.wrong_key(&path.key(key), format!("a request has no `{key}`"), mend);
        }
    }
    let below = path.key("http");
    let body = body(reader, &below, request, known);
    url(reader, &below.key("url"), &request.url, known);
    header_fields(reader, &below.key("headers"), &request.headers, known);
    fields(reader, &below.key("query"), &request.query, known);
    Action::Http(HttpAction {
        method: method(reader, &below.key("method"), request.method.as_deref(), &body),
        url: request.url.clone(),
        query: texts(&request.query),
        headers: texts(&request.headers),
        body,
        follow_redirects: request.follow_redirects,
        expect: expect::of_http(reader, &path.key("expect"), expect, known),
    })
}

fn body(reader: &mut Reader<'_>, path: &Path<'_>, request: &HttpDocument, known: &Known) -> HttpBody {
    let given = [("json", request.json.is_some()), ("form", request.form.is_some()), ("text", request.text.is_some())];
    let given: Vec<&str> = given.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect();
    if let [_, second, ..] = given[..] {
        let mend = "keep one of `json`, `form` and `text`";
        reader.wrong_key(&path.key(second), "a request cannot have two bodies", mend);
    }
    if let Some(json) = &request.json {
        expect::json_texts(reader, &path.key("json"), &json.0, known);
        return HttpBody::Json(json.0.to_string());
    }
    if let Some(form) = &request.form {
        fields(reader, &path.key("form"), form, known);
        return HttpBody::Form(texts(form));
    }
    if let Some(text) = &request.text {
        reader.template(&path.key("text"), text, known);
        return HttpBody::Text(text.clone());
    }
    HttpBody::None
}

fn fields(reader: &mut Reader<'_>, path: &Path<'_>, pairs: &Pairs<ScalarText>, known: &Known) {
    for (name, value) in &pairs.0 {
        reader.template(&path.key(name), &value.0, known);
    }
}

fn header_fields(reader: &mut Reader<'_>, path: &Path<'_>, pairs: &Pairs<ScalarText>, known: &Known) {
    fields(reader, path, pairs, known);
    for (name, value) in &pairs.0 {
        let below = path.key(name);
        if !is_header_name(name) {
            let message = format!("`{}` is not the name of a header field", shown(name));
            reader.wrong_key(&below, message, "write one such as `content-type`");
        }
        if value.0.contains(['\r', '\n']) {
            reader.wrong(&below, "a header field cannot have a line break", "write it on one line");
        }
    }
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_header_name(text: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.len() <= 256 && text.chars().all(token)
}

fn method(reader: &mut Reader<'_>, path: &Path<'_>, method: Option<&str>, body: &HttpBody) -> String {
    let Some(method) = method else {
        return if *body == HttpBody::None { "GET" } else { "POST" }.to_owned();
    };
    let capitals = method.to_ascii_uppercase();
    let is_token =
        !capitals.is_empty() && capitals.len() <= 32 && capitals.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    let near = if METHODS.contains(&capitals.as_str()) { None } else { nearest(&capitals, METHODS) };
    if !is_token || near.is_some() {
        let mend =
            near.map_or_else(|| format!("use one of {}", METHODS.join(", ")), |near| format!("did you mean `{near}`?"));
        reader.wrong(path, format!("`{}` is not an HTTP method", shown(method)), mend);
    }
    capitals
}

/// A URL; where a template stands in it, its result is checked when it is there.
pub fn url(reader: &mut Reader<'_>, path: &Path<'_>, url: &str, known: &Known) {
    reader.template(path, url, known);
    if !template::is_template(url) && !is_url(url) {
        let mend = "write it whole, such as `http://127.0.0.1:8080/path` or `{{ env.BASE }}/path`";
        reader.wrong(path, format!("`{}` is not a URL", shown(url)), mend);
    }
}

fn is_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port_is_sound = match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
        Some(_) | None => true,
    };
    !host.is_empty() && !host.starts_with(':') && port_is_sound && !url.contains(char::is_whitespace)
}

fn captures(
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
        if let Some(from) = capture_source(reader, &below, document) {
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

fn capture_source(reader: &mut Reader<'_>, path: &Path<'_>, document: &CaptureDocument) -> Option<CaptureSource> {
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

fn report(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    action: &Action,
    known: &Known,
) -> Option<Report> {
    let report = step.report.as_ref()?;
    let below = path.key("report");
    if !matches!(action, Action::Run(_)) {
        reader.wrong_key(&below, "a request writes no report", "take it away, or move it to a step with `run`");
    }
    if report.junit.trim().is_empty() {
        reader.wrong(
            &below.key("junit"),
            "the report has no path",
            "write the file the tool writes, such as `out.xml`",
        );
    }
    reader.template(&below.key("junit"), &report.junit, &known.clone().with_env(&step.env));
    Some(Report::JUnit(report.junit.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_other_texts() {
        for url in ["http://a", "https://a.b:8/x?y#z", "http://[::1]:80/", "http://[::1]", "http://u:p@h/"] {
            assert!(is_url(url), "{url}");
        }
        for url in
            ["", "a", "ftp://a", "http://", "http:///x", "http://a:99999", "http://a b", "http://:80", "http://a:x/"]
        {
            assert!(!is_url(url), "{url}");
        }
    }

    #[test]
    fn a_shell_line_has_its_list_form() {
        assert_eq!(as_argv("./greet.sh {{ token }} -v"), r#"[./greet.sh, "{{ token }}", -v]"#);
        assert!(as_argv("cat {{ a }} | wc").starts_with("[sh, -c,"));
    }
}
