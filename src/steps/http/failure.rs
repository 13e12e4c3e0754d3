//! Why no response could be had, in words.

use std::error::Error;

use reqwest::Url;

use super::client::MAX_REDIRECTS;

/// What tells nothing: the layers of the client that a cause passes through.
const LAYERS: [&str; 5] =
    ["client error (", "tcp connect error", "dns error", "error resolving DNS", "error sending request"];

/// The chain of causes below an error, from the outermost to the innermost, in one line.
#[must_use]
pub fn reasons(error: &reqwest::Error) -> String {
    let mut reasons: Vec<String> = vec![];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        let told = LAYERS.iter().any(|layer| text.starts_with(layer))
            || reasons.last().is_some_and(|last| last.contains(&text));
        if !told {
            reasons.push(text);
        }
        source = cause.source();
    }
    if reasons.is_empty() { error.to_string() } else { reasons.join(": ") }
}

/// Host and port of a URL.
#[must_use]
pub fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("(no host)");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What went wrong before the head of the response was there. Names the host that was asked last.
pub fn without_answer(error: &reqwest::Error, asked: &str) -> String {
    let place = error.url().map_or_else(|| asked.to_owned(), place);
    let reasons = reasons(error);
    if error.is_redirect() {
        format!("more than {MAX_REDIRECTS} redirects, the last one to {place}")
    } else if error.is_connect() {
        format!("cannot connect to {place}: {reasons}")
    } else {
        format!("no answer from {place}: {reasons}")
    }
}

/// What went wrong while the body was read.
pub fn within_body(error: &reqwest::Error, asked: &str, received: u64) -> String {
    let place = error.url().map_or_else(|| asked.to_owned(), place);
    format!("the body from {place} broke off after {received} bytes: {}", reasons(error))
}
