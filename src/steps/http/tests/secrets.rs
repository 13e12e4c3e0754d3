//! Secrets that a response brings are nowhere in what is recorded of it.

use futures::FutureExt;

use super::*;
use crate::steps::testing::{Act, answer, serve_raw};

const TOKEN: &[u8] = b"HTTP/1.1 200 OK\r\nx-session: s3cr3t-session\r\ncontent-length: 34\r\n\r\n{\"token\": \"t0ken-abc\", \"ok\": true}";

fn token() -> Act {
    |stream, _| answer(stream, TOKEN).boxed()
}

async fn sent_to(act: Act, http: PreparedHttp) -> (StepEnd, String) {
    let url = format!("http://{}/", serve_raw(act).await);
    let seen = Arc::new(Mutex::new(vec![]));
    let sink = Arc::clone(&seen);
    let live = Arc::new(move |output: crate::steps::context::LiveOutput| sink.lock().unwrap().extend(output.bytes));
    let end = send(&PreparedHttp { url, ..http }, &StepContext { live: Some(live), ..context() }).await;
    let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
    (end, seen)
}

fn recorded(end: &StepEnd) -> String {
    format!("{:?} {:?} {:?} {:?}", end.error, end.expectations, end.excerpts, end.outputs)
}

#[tokio::test]
async fn a_secret_captured_from_the_body_is_redacted_in_that_very_body() {
    let http = PreparedHttp { capture: capture(CaptureSource::Json("$.token".to_owned()), true), ..get("") };
    let (end, seen) = sent_to(token(), http).await;
    assert_eq!(end.outcome, StepOutcome::Passed);
    assert_eq!(end.captures["it"].value, json!("t0ken-abc"));
    assert!(end.captures["it"].secret);
    assert_eq!(end.excerpts[0].head, r#"{"token": "***", "ok": true}"#);
    assert!(!seen.contains("t0ken"), "{seen}");
}

#[tokio::test]
async fn it_is_redacted_as_well_where_the_step_fails() {
    let wanted = ValueExpect { equals: Some("\"other\"".to_owned()), ..ValueExpect::default() };
    let http = PreparedHttp {
        expect: HttpExpect { json: BTreeMap::from([("$.token".to_owned(), wanted)]), ..HttpExpect::default() },
        capture: capture(CaptureSource::Regex("\"(t0[^\"]+)".to_owned()), true),
        ..get("")
    };
    let (end, _) = sent_to(token(), http).await;
    assert_eq!(told(&end), (StepOutcome::Failed, ErrorKind::Expectation, r#"$.token is "***", expected "other""#));
    assert!(!recorded(&end).contains("t0ken"), "{}", recorded(&end));
}

#[tokio::test]
async fn a_secret_header_is_redacted_in_the_body_and_in_messages() {
    let act: Act = |stream, _| {
        answer(stream, b"HTTP/1.1 500 Oops\r\nx-session: s3cr3t\r\ncontent-length: 17\r\n\r\nsession is s3cr3t").boxed()
    };
    let text = TextExpect { equals: Some("fine".to_owned()), ..TextExpect::default() };
    let http = PreparedHttp {
        expect: HttpExpect { text, ..HttpExpect::default() },
        capture: capture(CaptureSource::Header("x-session".to_owned()), true),
        ..get("")
    };
    let (end, seen) = sent_to(act, http).await;
    assert_eq!(end.expectations[1], r#"body is "session is ***", expected "fine""#);
    assert!(!recorded(&end).contains("s3cr3t"), "{}", recorded(&end));
    assert!(!seen.contains("s3cr3t"), "{seen}");
}

#[tokio::test]
async fn a_body_whose_secret_nobody_can_tell_is_not_recorded() {
    let act: Act =
        |stream, _| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"token\": \"t0ken").boxed();
    let http = PreparedHttp { capture: capture(CaptureSource::Json("$.token".to_owned()), true), ..get("") };
    let (end, seen) = sent_to(act, http).await;
    assert_eq!((end.outcome, end.excerpts.len(), seen.as_str()), (StepOutcome::Error, 0, ""));
    assert!(!recorded(&end).contains("t0ken"), "{}", recorded(&end));
}

#[tokio::test]
async fn json_that_is_broken_is_not_shown_where_it_may_hold_the_secret() {
    let act: Act =
        |stream, _| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"token\": \"t0ken\"").boxed();
    let http = PreparedHttp { capture: capture(CaptureSource::Json("$.token".to_owned()), true), ..get("") };
    let (end, _) = sent_to(act, http.clone()).await;
    let reason = "it is not JSON (EOF while parsing an object at line 1 column 17), and it is not shown: \
                  a secret was to be captured from it";
    let message = format!("cannot capture it from the body: {reason}");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Capture, message.as_str()));
    assert!(!recorded(&end).contains("t0ken"), "{}", recorded(&end));

    let exists = ValueExpect { exists: Some(true), ..ValueExpect::default() };
    let json = BTreeMap::from([("$.token".to_owned(), exists)]);
    let http = PreparedHttp { expect: HttpExpect { json, ..HttpExpect::default() }, ..http };
    let (end, _) = sent_to(act, http).await;
    let message = format!("the body cannot be checked: {reason}");
    assert_eq!(told(&end), (StepOutcome::Failed, ErrorKind::Expectation, message.as_str()));
    assert!(!recorded(&end).contains("t0ken"), "{}", recorded(&end));
}

#[tokio::test]
async fn a_page_of_text_in_place_of_json_is_shown() {
    let act: Act = |stream, _| answer(stream, b"HTTP/1.1 502 Bad\r\ncontent-length: 12\r\n\r\n<h1>bad</h1>").boxed();
    let http = PreparedHttp { capture: capture(CaptureSource::Json("$.token".to_owned()), true), ..get("") };
    let (end, _) = sent_to(act, http).await;
    assert_eq!((end.outcome, end.excerpts[0].head.as_str()), (StepOutcome::Failed, "<h1>bad</h1>"));
}

#[tokio::test]
async fn a_plain_capture_that_holds_a_known_secret_becomes_secret() {
    let act: Act = |stream, _| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\nBearer hunter22").boxed();
    let http = PreparedHttp { capture: capture(CaptureSource::Text, false), ..get("") };
    let (end, _) = sent_to(act, http).await;
    assert!(end.captures["it"].secret);
    assert_eq!(end.excerpts[0].head, "Bearer ***");
}
