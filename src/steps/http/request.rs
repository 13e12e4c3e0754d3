//! From a prepared request to one that can be sent.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use testledger_schemas::plan::HttpBody;

use crate::steps::PreparedHttp;

/// The URL to ask.
///
/// # Errors
/// Why it is none, in one line.
pub fn url(text: &str) -> Result<Url, String> {
    let mend = "it must begin with http:// or https:// and name a host";
    let url = Url::parse(text).map_err(|error| format!("{text} is not a URL ({error}): {mend}"))?;
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host();
    if usable { Ok(url) } else { Err(format!("{text} cannot be asked: {mend}")) }
}

/// The request, with the content type of its body where the plan gives none.
///
/// # Errors
/// What of it cannot be sent, in one line.
pub fn build(client: &Client, url: Url, http: &PreparedHttp) -> Result<Request, String> {
    let method = Method::from_bytes(http.method.as_bytes());
    let method = method.map_err(|_| format!("{} is not an HTTP method", http.method))?;
    let request = client.request(method, url).headers(headers(&http.headers)?);
    let typed = |content_type: &'static str| {
        let given = http.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
        if given {
            HeaderMap::new()
        } else {
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
        }
    };
    let request = match &http.body {
        HttpBody::None => request,
        HttpBody::Json(json) => request.headers(typed("application/json")).body(json.clone()),
        HttpBody::Form(fields) => request.form(fields),
        HttpBody::Text(text) => request.headers(typed("text/plain; charset=utf-8")).body(text.clone()),
    };
    request.build().map_err(|error| format!("the request cannot be sent: {}", super::reasons(&error)))
}

fn headers(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let key =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not the name of a header"))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("header {name} cannot be sent: its value has a control character in it"))?;
        headers.append(key, value);
    }
    Ok(headers)
}
