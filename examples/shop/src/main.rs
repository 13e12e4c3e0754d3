//! A very small shop over HTTP, for the example plans to test: `shop PORT` serves on 127.0.0.1.
//!
//! `GET /health`, `POST /token` (JSON with `user`), `GET /cart` (with the token), `GET /items`.

mod routes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use routes::{Request, answer};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a request's body that are read.
const MAX_BODY: u64 = 64 << 10;
/// The most header fields that are read.
const MAX_FIELDS: usize = 100;

fn main() -> ExitCode {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else {
        eprintln!("usage: shop PORT");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(("127.0.0.1", port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("shop: port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("shop: open on 127.0.0.1:{port}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A client that goes away in the middle is no concern of the others.
            let _ = serve(&stream);
        });
    }
    ExitCode::SUCCESS
}

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(request) = read(stream)? else { return Ok(()) };
    let (status, body) = answer(&request);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream.take(MAX_BODY * 2));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (mut length, mut token) = (0, None);
    for _ in 0..MAX_FIELDS {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0).min(MAX_BODY),
            "authorization" => token = value.trim().strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Some(Request { method, path, token, body }))
}
