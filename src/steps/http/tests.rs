//! Requests to real servers on this machine: those that behave (axum), and those that do not (raw sockets).

mod broken;
mod secrets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get as on_get};
use axum::{Json, Router};
use serde_json::{Value, json};
use testledger_schemas::StepOutcome;
use testledger_schemas::event::{ErrorKind, OutputStream};
use testledger_schemas::plan::{Capture, CaptureSource, HttpBody, HttpExpect, TextExpect, ValueExpect};

use crate::steps::http::send;
use crate::steps::testing::{context, get};
use crate::steps::{PreparedHttp, StepContext, StepEnd};

/// What was asked, as JSON.
async fn echo(request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: BTreeMap<_, _> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?").to_owned())).collect();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Json(json!({ "method": head.method.as_str(), "uri": head.uri.to_string(), "headers": headers, "body": body }))
}

async fn hop(Path(left): Path<u32>) -> Redirect {
    if left == 0 { Redirect::to("/echo") } else { Redirect::to(&format!("/hop/{}", left - 1)) }
}

/// A server that behaves; the URL it is reached at.
async fn server() -> String {
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/hop/{left}", any(hop))
        .route("/status/{code}", on_get(|Path(code): Path<u16>| async move { StatusCode::from_u16(code).unwrap() }))
        .route("/user", on_get(|| async { ([("x-request-id", "r-17")], Json(json!({ "name": "bob", "id": 7 }))) }))
        .route("/text", on_get(|| async { "one\ntwo\n".into_response() }))
        .route("/large", on_get(|| async { "x".repeat(100_000) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn capture(from: CaptureSource, secret: bool) -> BTreeMap<String, Capture> {
    BTreeMap::from([("it".to_owned(), Capture { from, secret })])
}

fn body(end: &StepEnd) -> Value {
    serde_json::from_str(&end.excerpts[0].head).unwrap()
}

fn told(end: &StepEnd) -> (StepOutcome, ErrorKind, &str) {
    let error = end.error.as_ref().unwrap();
    (end.outcome, error.kind, error.message.as_str())
}

async fn sent(http: &PreparedHttp) -> StepEnd {
    send(http, &context()).await
}

#[tokio::test]
async fn method_headers_and_bodies_arrive_as_they_were_given() {
    let url = format!("{}/echo?q=a%20b", server().await);
    let json = PreparedHttp {
        method: "PATCH".to_owned(),
        headers: vec![("X-A".to_owned(), "1".to_owned())],
        body: HttpBody::Json(r#"{"n": 9007199254740993}"#.to_owned()),
        ..get(&url)
    };
    let got = body(&sent(&json).await);
    assert_eq!(got["method"], "PATCH");
    assert_eq!(got["uri"], "/echo?q=a%20b");
    assert_eq!(got["headers"]["x-a"], "1");
    assert_eq!(got["headers"]["content-type"], "application/json");
    assert_eq!(got["headers"]["user-agent"], concat!("testledger/", env!("CARGO_PKG_VERSION")));
    assert_eq!(got["body"], r#"{"n": 9007199254740993}"#);

    let fields = vec![("user".to_owned(), "a b&c".to_owned()), ("ü".to_owned(), String::new())];
    let form = PreparedHttp { method: "POST".to_owned(), body: HttpBody::Form(fields), ..get(&url) };
    let got = body(&sent(&form).await);
    assert_eq!(got["headers"]["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(got["body"], "user=a+b%26c&%C3%BC=");

    let headers = vec![("content-type".to_owned(), "text/csv".to_owned())];
    let text = PreparedHttp { method: "PUT".to_owned(), headers, body: HttpBody::Text("a,b".to_owned()), ..get(&url) };
    let got = body(&sent(&text).await);
    assert_eq!(got["headers"]["content-type"], "text/csv");
    assert_eq!(got["body"], "a,b");
}

#[tokio::test]
async fn a_response_that_meets_everything_passes_and_is_captured_from() {
    let value = |json: &str| ValueExpect { equals: Some(json.to_owned()), ..ValueExpect::default() };
    let expect = HttpExpect {
        status: vec![(200, 200)],
        headers: BTreeMap::from([("x-request-id".to_owned(), value("\"r-17\""))]),
        json: BTreeMap::from([("$.name".to_owned(), value("\"bob\"")), ("$.id".to_owned(), value("7.0"))]),
        text: TextExpect { contains: vec!["bob".to_owned()], ..TextExpect::default() },
        within_ms: Some(60_000),
    };
    let source = [
        ("id", CaptureSource::Json("$.id".to_owned())),
        ("request", CaptureSource::Header("X-Request-Id".to_owned())),
        ("status", CaptureSource::Status),
    ];
    let capture = source.map(|(name, from)| (name.to_owned(), Capture { from, secret: false })).into();
    let end = sent(&PreparedHttp { expect, capture, ..get(format!("{}/user", server().await)) }).await;
    assert_eq!((end.outcome, &end.error, end.http_status), (StepOutcome::Passed, &None, Some(200)));
    assert!(end.expectations.is_empty());
    let values: Vec<_> = end.captures.into_iter().map(|(name, it)| (name, it.value)).collect();
    let wanted = [("id", json!(7)), ("request", json!("r-17")), ("status", json!(200))];
    assert_eq!(values, wanted.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(end.outputs[0].stream, OutputStream::Body);
    assert_eq!(end.outputs[0].bytes, end.excerpts[0].head.len() as u64);
}

#[tokio::test]
async fn every_expectation_that_fails_is_told_and_the_first_is_the_message() {
    let value = |json: &str| ValueExpect { equals: Some(json.to_owned()), ..ValueExpect::default() };
    let expect = HttpExpect {
        status: vec![(201, 201)],
        headers: BTreeMap::from([("etag".to_owned(), value("\"x\""))]),
        json: BTreeMap::from([("$.name".to_owned(), value("\"ada\""))]),
        text: TextExpect { not_contains: vec!["bob".to_owned()], ..TextExpect::default() },
        within_ms: None,
    };
    let end = sent(&PreparedHttp {
        expect,
        capture: capture(CaptureSource::Status, false),
        ..get(format!("{}/user", server().await))
    })
    .await;
    assert_eq!(told(&end), (StepOutcome::Failed, ErrorKind::Expectation, "status is 200, expected 201"));
    let lines = [
        "status is 200, expected 201",
        r#"header etag is missing, expected "x""#,
        r#"$.name is "bob", expected "ada""#,
        r#"body is "{\"id\":7,\"name\":\"bob\"}", expected it not to contain "bob""#,
    ];
    assert_eq!(end.expectations, lines);
    assert!(end.captures.is_empty());
}

#[tokio::test]
async fn without_a_word_about_it_every_status_below_400_passes() {
    let url = server().await;
    assert_eq!(sent(&get(format!("{url}/status/204"))).await.outcome, StepOutcome::Passed);
    let end = sent(&get(format!("{url}/status/404"))).await;
    assert_eq!(told(&end), (StepOutcome::Failed, ErrorKind::Expectation, "status is 404, expected 200-399"));
    assert_eq!(end.http_status, Some(404));
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_bound_or_not_at_all() {
    let url = server().await;
    let within = sent(&get(format!("{url}/hop/9"))).await;
    assert_eq!((within.outcome, within.http_status), (StepOutcome::Passed, Some(200)));
    assert_eq!(body(&within)["headers"]["referer"], Value::Null);
    let beyond = sent(&get(format!("{url}/hop/10"))).await;
    let (outcome, kind, message) = told(&beyond);
    assert_eq!((outcome, kind), (StepOutcome::Error, ErrorKind::Connection));
    assert!(message.starts_with("more than 10 redirects, the last one to 127.0.0.1:"), "{message}");
    let stayed = sent(&PreparedHttp { follow_redirects: false, ..get(format!("{url}/hop/99")) }).await;
    assert_eq!((stayed.outcome, stayed.http_status), (StepOutcome::Passed, Some(303)));
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_counted_and_nothing_is_said_about_what_it_held() {
    let url = format!("{}/large", server().await);
    let unasked = sent(&get(&url)).await;
    assert_eq!(unasked.outcome, StepOutcome::Passed);
    assert_eq!((unasked.outputs[0].bytes, unasked.outputs[0].dropped_bytes), (100_000, 100_000 - 65_536));

    let text = TextExpect { not_contains: vec!["y".to_owned()], ..TextExpect::default() };
    let end = sent(&PreparedHttp { expect: HttpExpect { text, ..HttpExpect::default() }, ..get(&url) }).await;
    let line = "the body cannot be checked: it has 100000 bytes, and only the first 65536 are kept";
    assert_eq!(told(&end), (StepOutcome::Failed, ErrorKind::Expectation, line));

    let end = sent(&PreparedHttp { capture: capture(CaptureSource::Text, false), ..get(&url) }).await;
    let line = "cannot capture it from the body: it has 100000 bytes, and only the first 65536 are kept";
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Capture, line));
    let end = sent(&PreparedHttp { capture: capture(CaptureSource::Status, false), ..get(&url) }).await;
    assert_eq!(end.captures["it"].value, json!(200));
}

#[tokio::test]
async fn what_comes_in_is_seen_live() {
    let seen = Arc::new(Mutex::new(vec![]));
    let sink = Arc::clone(&seen);
    let live = Arc::new(move |output: crate::steps::context::LiveOutput| {
        assert_eq!((output.step.as_str(), output.stream), ("request", OutputStream::Body));
        sink.lock().unwrap().extend(output.bytes);
    });
    let context = StepContext { live: Some(live), ..context() };
    let end = send(&get(format!("{}/text", server().await)), &context).await;
    assert_eq!(end.outcome, StepOutcome::Passed);
    assert_eq!(seen.lock().unwrap().as_slice(), b"one\ntwo\n");
}

#[tokio::test]
async fn what_cannot_be_sent_is_named_and_nothing_is_sent() {
    for (url, message) in [
        (
            "user",
            "user is not a URL (relative URL without a base): it must begin with http:// or https:// and name a host",
        ),
        ("ftp://host/", "ftp://host/ cannot be asked: it must begin with http:// or https:// and name a host"),
    ] {
        assert_eq!(told(&sent(&get(url)).await), (StepOutcome::Error, ErrorKind::Template, message));
    }
    let method = PreparedHttp { method: "GE T".to_owned(), ..get("http://127.0.0.1:1/") };
    assert_eq!(told(&sent(&method).await).2, "GE T is not an HTTP method");
    let header = |name: &str, value: &str| {
        let headers = vec![(name.to_owned(), value.to_owned())];
        PreparedHttp { headers, ..get("http://127.0.0.1:1/") }
    };
    assert_eq!(told(&sent(&header("a b", "c")).await).2, r#""a b" is not the name of a header"#);
    let message = "header a cannot be sent: its value has a control character in it";
    assert_eq!(told(&sent(&header("a", "b\r\nc: d")).await).2, message);
}
