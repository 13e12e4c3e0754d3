//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use uuid::Uuid;

use crate::error::{Error, Result};

/// Below the ports that the kernel gives to outgoing connections: so a server that is killed and started again finds its
/// port free, however many clients have connected to something meanwhile.
const FIRST: u16 = 20_000;
/// How many ports from there on.
const COUNT: u16 = 12_000;
/// How many are tried.
const PROBES: u32 = 100;

/// A port on which nobody listens just now. Somebody may by the time it is used: try another then.
///
/// # Errors
/// None was found.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..PROBES {
        let port = FIRST + random_below(COUNT);
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::Refused(format!("no free port among {PROBES} of {FIRST}..{} of 127.0.0.1", FIRST + COUNT)))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn random_below(count: u16) -> u16 {
    let bytes = Uuid::new_v4().into_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]]) % count
}
