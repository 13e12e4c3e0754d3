//! Reads HTTP requests.

use testledger_schemas::plan::document::{ExpectDocument, HttpDocument, Pairs, ScalarText, StepDocument};
use testledger_schemas::plan::{Action, HttpAction, HttpBody};

use super::expect;
use super::names::Known;
use super::problem::{nearest, shown};
use super::reader::{Reader, texts};
use super::template;
use super::tree::Path;

/// The methods that HTTP itself knows (RFC 9110, RFC 5789).
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The request of a step.
pub fn read(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    request: &HttpDocument,
    expect: &ExpectDocument,
    known: Known<'_>,
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

fn body(reader: &mut Reader<'_>, path: &Path<'_>, request: &HttpDocument, known: Known<'_>) -> HttpBody {
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

fn fields(reader: &mut Reader<'_>, path: &Path<'_>, pairs: &Pairs<ScalarText>, known: Known<'_>) {
    for (name, value) in &pairs.0 {
        reader.template(&path.key(name), &value.0, known);
    }
}

fn header_fields(reader: &mut Reader<'_>, path: &Path<'_>, pairs: &Pairs<ScalarText>, known: Known<'_>) {
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
pub fn url(reader: &mut Reader<'_>, path: &Path<'_>, url: &str, known: Known<'_>) {
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
}
