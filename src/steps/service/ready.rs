//! When a service is ready.

use std::time::Duration;

use regex::Regex;
use reqwest::{Client, Url};
use testledger_schemas::plan::Ready;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::steps::expect::pattern;
use crate::steps::http::{HttpClient, asked_url, place, reasons};

/// From one try to the next.
const POLL: Duration = Duration::from_millis(50);

/// The longest wait for a connection in one try.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// The longest wait for an answer in one try: some services do their first work on the first request.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// When a service is ready, with all that is needed to tell.
pub enum Readiness {
    /// As soon as it runs.
    Started,
    /// When a GET is answered with a status below 400. Redirects are answers, and are not followed.
    Http { url: Url, client: Client },
    /// When this `host:port` accepts a connection.
    Tcp(String),
    /// When this is found in a line of its output (or in the beginning of one, for a prompt).
    Log(Regex),
}

impl Readiness {
    /// Takes what the plan says.
    ///
    /// # Errors
    /// What of it cannot be watched for, in one line.
    pub fn new(ready: &Ready, http: &HttpClient) -> Result<Self, String> {
        Ok(match ready {
            Ready::Started => Self::Started,
            Ready::Http(url) => Self::Http { url: asked_url(url)?, client: http.get(false)?.clone() },
            Ready::Tcp(place) => Self::Tcp(host_and_port(place)?),
            Ready::Log(regex) => Self::Log(pattern(regex)?),
        })
    }

    /// What is to be found in the output, if that is what makes it ready.
    pub fn log_pattern(&self) -> Option<&Regex> {
        match self {
            Self::Log(regex) => Some(regex),
            Self::Started | Self::Http { .. } | Self::Tcp(_) => None,
        }
    }

    /// Makes sure that nobody answers there before the start: it would be taken for the service.
    ///
    /// # Errors
    /// Where somebody answers, and what to do about it.
    pub async fn must_not_be_there(&self) -> Result<(), String> {
        let place = match self {
            Self::Started | Self::Log(_) => return Ok(()),
            Self::Http { url, .. } => place(url),
            Self::Tcp(place) => place.clone(),
        };
        match connect(&place).await {
            Ok(()) => Err(format!("something already answers at {place}: stop it, or choose another port")),
            Err(_) => Ok(()),
        }
    }

    /// Waits until it is ready, without end; `last` says what was found at the last try.
    pub async fn wait(&self, mut seen: watch::Receiver<bool>, last: &mut String) {
        if let Self::Log(regex) = self {
            *last = format!("no line of its output matches /{regex}/");
            // The sender lives as long as the output is read: after its end nothing can match any more.
            if seen.wait_for(|seen| *seen).await.is_err() {
                std::future::pending::<()>().await;
            }
            return;
        }
        // The caller bounds it by time.
        while let Err(reason) = self.attempt().await {
            *last = reason;
            sleep(POLL).await;
        }
    }

    async fn attempt(&self) -> Result<(), String> {
        match self {
            Self::Started | Self::Log(_) => Ok(()),
            Self::Tcp(place) => connect(place).await,
            Self::Http { url, client } => ask(client, url).await,
        }
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", ""));
    let usable = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    if usable { Ok(text.to_owned()) } else { Err(format!("{text} is not a host:port")) }
}

async fn connect(place: &str) -> Result<(), String> {
    match timeout(CONNECT_PATIENCE, TcpStream::connect(place)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("cannot connect to {place}: {error}")),
        Err(_) => Err(format!("no connection to {place} within {} ms", CONNECT_PATIENCE.as_millis())),
    }
}

async fn ask(client: &Client, url: &Url) -> Result<(), String> {
    match timeout(ANSWER_PATIENCE, client.get(url.clone()).send()).await {
        Ok(Ok(response)) if response.status().as_u16() < 400 => Ok(()),
        Ok(Ok(response)) => Err(format!("GET {url} is answered with status {}", response.status().as_u16())),
        Ok(Err(error)) => Err(format!("GET {url} is not answered: {}", reasons(&error))),
        Err(_) => Err(format!("GET {url} is not answered within {} ms", ANSWER_PATIENCE.as_millis())),
    }
}
