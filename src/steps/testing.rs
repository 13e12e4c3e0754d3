//! What the tests of this room share: a context, and servers that misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::ExecutionId;
use testledger_schemas::plan::{HttpBody, HttpExpect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event_store::memory::MemoryLog;
use crate::steps::context::OutputLimits;
use crate::steps::http::HttpClient;
use crate::steps::launcher::{LaunchError, LaunchSpec, Launcher, Process};
use crate::steps::redact::Redactor;
use crate::steps::{PreparedHttp, StepContext};

/// A launcher for steps that start nothing.
pub struct NoLauncher;

#[async_trait]
impl Launcher for NoLauncher {
    async fn launch(&self, _spec: LaunchSpec) -> Result<Process, LaunchError> {
        Err(LaunchError::SpawnerLost("there is none in this test".to_owned()))
    }
}

/// The context of a step with a generous timeout, 64 KiB of kept output and one secret: `hunter22`.
pub fn context() -> StepContext {
    StepContext {
        execution: ExecutionId(Uuid::nil()),
        step: "request".to_owned(),
        identity: ("suite".to_owned(), "case".to_owned(), String::new()),
        launcher: Arc::new(NoLauncher),
        http: HttpClient::new(),
        log: MemoryLog::new(),
        redactor: Redactor::new(["hunter22".to_owned()]),
        cancel: CancellationToken::new(),
        timeout: Some(Duration::from_secs(60)),
        grace: Duration::from_secs(10),
        leak_timeout: Duration::from_secs(2),
        output: OutputLimits { excerpt_bytes: 16 * 1024, kept_bytes: 64 * 1024 },
        live: None,
    }
}

/// A GET of this URL that expects nothing in particular and follows redirects.
pub fn get(url: impl Into<String>) -> PreparedHttp {
    PreparedHttp {
        method: "GET".to_owned(),
        url: url.into(),
        headers: vec![],
        body: HttpBody::None,
        follow_redirects: true,
        expect: HttpExpect::default(),
        capture: BTreeMap::new(),
    }
}

/// What a server does with one connection, after it has read the head of a request.
pub type Act = fn(TcpStream, usize) -> futures::future::BoxFuture<'static, ()>;

/// A server that answers every connection by `act`, which is told how many came before. It lives as long as the
/// test's runtime.
pub async fn serve_raw(act: Act) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for count in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                read_head(&mut stream).await;
                act(stream, count).await;
            });
        }
    });
    address
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = vec![];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// Writes these bytes and closes the connection.
pub async fn answer(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}

/// A port on which nothing listens.
pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
