//! Servers that refuse, break off, loop, or never come to an end.

use std::time::Duration;

use futures::FutureExt;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::steps::testing::{Act, answer, free_port, serve_raw};

async fn sent_to(act: Act, context: &StepContext) -> (StepEnd, String) {
    let address = serve_raw(act).await;
    (send(&get(format!("http://{address}/")), context).await, address.to_string())
}

fn with_timeout(ms: u64) -> StepContext {
    StepContext { timeout: Some(Duration::from_millis(ms)), ..context() }
}

#[tokio::test]
async fn nobody_listens() {
    let place = format!("127.0.0.1:{}", free_port().await);
    let end = sent(&get(format!("http://{place}/a?token=hunter22"))).await;
    let message = format!("cannot connect to {place}: Connection refused (os error 111)");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Connection, message.as_str()));
    assert!(end.outputs.is_empty());
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let end = sent(&get("http://nowhere.invalid/")).await;
    let (outcome, kind, message) = told(&end);
    assert_eq!((outcome, kind), (StepOutcome::Error, ErrorKind::Connection));
    assert!(message.starts_with("cannot connect to nowhere.invalid:80: failed to lookup address"), "{message}");
}

#[tokio::test]
async fn a_secret_in_the_host_is_redacted() {
    let end = sent(&get("http://hunter22.invalid/")).await;
    assert!(told(&end).2.starts_with("cannot connect to ***.invalid:80: "), "{}", told(&end).2);
}

#[tokio::test]
async fn plain_text_where_tls_is_expected() {
    let context = with_timeout(30_000);
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = plain.accept().await.unwrap();
        answer(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let end = send(&get(format!("https://{place}/")), &context).await;
    let (outcome, kind, message) = told(&end);
    assert_eq!((outcome, kind), (StepOutcome::Error, ErrorKind::Connection));
    assert!(message.starts_with(&format!("cannot connect to {place}: ")), "{message}");
}

#[tokio::test]
async fn no_http_at_all() {
    let (end, place) = sent_to(|stream, _| answer(stream, b"SSH-2.0-OpenSSH_9.2\r\n").boxed(), &context()).await;
    let message = format!("no answer from {place}: invalid HTTP version parsed");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Connection, message.as_str()));
}

#[tokio::test]
async fn closed_before_an_answer() {
    let (end, place) = sent_to(|stream, _| answer(stream, b"").boxed(), &context()).await;
    let message = format!("no answer from {place}: connection closed before message completed");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Connection, message.as_str()));
}

#[tokio::test]
async fn reset_before_an_answer() {
    fn reset(stream: tokio::net::TcpStream, _: usize) -> futures::future::BoxFuture<'static, ()> {
        async move { stream.set_zero_linger().unwrap() }.boxed()
    }
    let (end, place) = sent_to(reset, &context()).await;
    let message = format!("no answer from {place}: connection error: Connection reset by peer (os error 104)");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Connection, message.as_str()));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_recorded_as_far_as_it_came() {
    let act: Act = |stream, _| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf a hunter22").boxed();
    let (end, place) = sent_to(act, &context()).await;
    let (outcome, kind, message) = told(&end);
    assert_eq!((outcome, kind), (StepOutcome::Error, ErrorKind::Connection));
    assert!(message.starts_with(&format!("the body from {place} broke off after 15 bytes: ")), "{message}");
    assert_eq!((end.http_status, end.excerpts[0].head.as_str()), (Some(200), "half a ***"));
}

#[tokio::test]
async fn header_fields_without_end() {
    let act: Act = |mut stream, _| {
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            // Far more than a client should take, and bounded, so that one that takes it all fails this test.
            for n in 0..200_000 {
                if stream.write_all(format!("x-{n}: {}\r\n", "y".repeat(100)).as_bytes()).await.is_err() {
                    return;
                }
            }
            answer(stream, b"content-length: 0\r\n\r\n").await;
        }
        .boxed()
    };
    let (end, place) = sent_to(act, &context()).await;
    let message = format!("no answer from {place}: message head is too large");
    assert_eq!(told(&end), (StepOutcome::Error, ErrorKind::Connection, message.as_str()));
}

#[tokio::test]
async fn an_endless_body_ends_with_the_timeout_and_its_beginning_is_kept() {
    let act: Act = |mut stream, _| {
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'z'; 8192]).await.is_ok() {}
        }
        .boxed()
    };
    let (end, place) = sent_to(act, &with_timeout(500)).await;
    let (outcome, kind, message) = told(&end);
    assert_eq!((outcome, kind), (StepOutcome::Timeout, ErrorKind::Timeout));
    assert!(message.starts_with("timed out after ") && message.contains(" bytes of the body from "), "{message}");
    assert!(message.ends_with(&format!("{place} read")), "{message}");
    assert!(end.outputs[0].dropped_bytes > 0);
    assert!(end.excerpts[0].head.starts_with("zzz"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_at_the_timeout() {
    let act: Act = |stream, _| {
        async move {
            std::future::pending::<()>().await;
            drop(stream);
        }
        .boxed()
    };
    let (end, place) = sent_to(act, &with_timeout(100)).await;
    let (outcome, kind, message) = told(&end);
    assert_eq!((outcome, kind), (StepOutcome::Timeout, ErrorKind::Timeout));
    assert!(message.ends_with(&format!(" ms, without an answer from {place}")), "{message}");
}

#[tokio::test]
async fn a_cancel_ends_a_slow_body_and_keeps_what_came() {
    let act: Act = |mut stream, _| {
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        .boxed()
    };
    let context = context();
    let cancel = context.cancel.clone();
    let (first_byte, seen) = tokio::sync::oneshot::channel();
    let first_byte = Mutex::new(Some(first_byte));
    let live = Arc::new(move |_| {
        if let Some(first_byte) = first_byte.lock().unwrap().take() {
            let _ = first_byte.send(());
        }
    });
    tokio::spawn(async move {
        seen.await.unwrap();
        cancel.cancel();
    });
    let (end, _) = sent_to(act, &StepContext { live: Some(live), ..context }).await;
    assert_eq!((end.outcome, &end.error, end.http_status), (StepOutcome::Cancelled, &None, Some(200)));
    assert!(end.excerpts[0].head.starts_with('.'));
}

#[tokio::test]
async fn what_is_cancelled_already_is_not_sent() {
    let context = context();
    context.cancel.cancel();
    let act: Act = |stream, _| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").boxed();
    let (end, _) = sent_to(act, &context).await;
    assert_eq!((end.outcome, end.http_status), (StepOutcome::Cancelled, None));
}

#[tokio::test]
async fn every_request_has_its_own_connection() {
    // Each connection answers one request and then resets: a client that used it again would fail.
    let act: Act = |mut stream, count| {
        async move {
            let body = count.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        .boxed()
    };
    let address = serve_raw(act).await;
    let context = context();
    for count in 0..5 {
        let end = send(&get(format!("http://{address}/")), &context).await;
        assert_eq!((end.outcome, end.excerpts[0].head.clone()), (StepOutcome::Passed, count.to_string()));
    }
}
