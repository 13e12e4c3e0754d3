//! One request and its response, as far as they have come. May be dropped in the middle of [`Exchange::run`], and what
//! was received until then is still here.

use reqwest::Response;
use testledger_schemas::event::ErrorKind;
use testledger_schemas::plan::CaptureSource;

use super::body::{Body, Whole};
use super::{failure, request};
use crate::steps::capture::{CaptureInput, secret_texts};
use crate::steps::output::Recorded;
use crate::steps::redact::Redactor;
use crate::steps::{PreparedHttp, StepContext};

/// Why there is no whole response; not redacted yet.
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
}

/// Status and header fields of a response.
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

/// One request and its response.
pub struct Exchange<'a> {
    pub http: &'a PreparedHttp,
    pub context: &'a StepContext,
    asked: String,
    redactor: Redactor,
    answer: Option<(Head, Body)>,
}

impl<'a> Exchange<'a> {
    /// An exchange that has not begun.
    pub fn new(http: &'a PreparedHttp, context: &'a StepContext) -> Self {
        Self { http, context, asked: String::new(), redactor: context.redactor.clone(), answer: None }
    }

    /// Sends the request and reads the response to its end.
    pub async fn run(&mut self) -> Result<(), Failure> {
        let url = request::url(&self.http.url).map_err(unusable)?;
        self.asked = failure::place(&url);
        let client = self.context.http.get(self.http.follow_redirects).map_err(no_client)?;
        let request = request::build(client, url, self.http).map_err(unusable)?;
        let response = client.execute(request).await;
        let response = response.map_err(|error| connection(failure::without_answer(&error, &self.asked)))?;
        self.read(response).await
    }

    async fn read(&mut self, mut response: Response) -> Result<(), Failure> {
        let head = head(&response);
        let known = CaptureInput { text: "", headers: Some(&head.headers), status: Some(head.status) };
        let secrets = secret_texts(&self.http.capture, &known);
        self.redactor = secrets.iter().fold(self.redactor.clone(), |redactor, secret| redactor.with(secret));
        let body = Body::new(self.secret_in_body(), self.context, &self.redactor);
        let (_, body) = self.answer.insert((head, body));
        loop {
            // Bounded by the body's end, or by the timeout that drops this future.
            match response.chunk().await {
                Ok(Some(part)) => body.push(&part),
                Ok(None) => return Ok(()),
                Err(error) => return Err(connection(failure::within_body(&error, &self.asked, body.received()))),
            }
        }
    }

    /// Whether something in the body is to be captured as a secret: then it must not be recorded before it is known.
    fn secret_in_body(&self) -> bool {
        self.http.capture.values().any(|capture| {
            capture.secret
                && match capture.from {
                    CaptureSource::Json(_) | CaptureSource::Regex(_) | CaptureSource::Text => true,
                    CaptureSource::Header(_) | CaptureSource::Status => false,
                }
        })
    }

    /// How far it has come, for the message of a timeout.
    pub fn progress(&self) -> String {
        match &self.answer {
            None => format!("without an answer from {}", self.asked),
            Some((_, body)) => format!("with {} bytes of the body from {} read", body.received(), self.asked),
        }
    }

    /// The status of the response, if one came.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|(head, _)| head.status)
    }

    /// What must not be seen, with the secrets that the header fields brought.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Takes the answer out.
    pub fn into_answer(self) -> Option<(Head, Body, Redactor)> {
        self.answer.map(|(head, body)| (head, body, self.redactor))
    }

    /// Records what there is of a body that broke off. Not where it may hold a secret that nobody can tell from it;
    /// and a store that refuses it will refuse the step's end as well, which says so.
    pub async fn record_partial(self) -> Option<Recorded> {
        let (_, body) = self.answer?;
        match body.finish(self.context).await.ok()? {
            Whole::Recorded(recorded) => Some(*recorded),
            Whole::Held(_) => None,
        }
    }
}

fn head(response: &Response) -> Head {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Head { status: response.status().as_u16(), headers }
}

/// The resolved request is none: its templates or texts are at fault, and nothing was sent.
fn unusable(message: String) -> Failure {
    Failure { kind: ErrorKind::Template, message }
}

fn no_client(message: String) -> Failure {
    Failure { kind: ErrorKind::ResourceAllocation, message }
}

fn connection(message: String) -> Failure {
    Failure { kind: ErrorKind::Connection, message }
}
