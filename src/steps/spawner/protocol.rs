//! What engine, spawner and keepers say to each other: framed JSON, and descriptors handed over.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use testledger_schemas::event::ResourceUsage;

/// The largest frame. Linux allows about 2 MiB for arguments and environment together; JSON may double it, or worse.
pub const MAX_FRAME: usize = 16 << 20;

/// The most descriptors that go with one message.
const MAX_HANDED: usize = 3;

/// What an engine asks of the spawner; the descriptors go with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Start a command: the keeper's end of its socket, where standard output and standard error go.
    Run,
    /// Keep this descriptor (of a lock) open until nothing is left of any command; keepers note there what they start.
    Hold,
    /// When this timer fires, everything is to end.
    Timer,
}

impl Request {
    const RUN: u8 = b'R';
    const HOLD: u8 = b'H';
    const TIMER: u8 = b'T';

    fn as_byte(self) -> u8 {
        match self {
            Self::Run => Self::RUN,
            Self::Hold => Self::HOLD,
            Self::Timer => Self::TIMER,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            Self::RUN => Some(Self::Run),
            Self::HOLD => Some(Self::Hold),
            Self::TIMER => Some(Self::Timer),
            _ => None,
        }
    }
}

/// What the spawner says when it is ready.
pub const READY: u8 = b'+';

/// What an engine sends on a command's socket after the [`Spec`]: one byte for each signal.
pub const TERM: u8 = b'T';
/// The same, for SIGKILL until nothing is left.
pub const KILL: u8 = b'K';

/// What to run: the first frame on a command's socket.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
}

/// What a keeper reports.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub enum Report {
    /// The command runs.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// The command cannot be started, in words that say what would be right.
    Refused {
        /// Whether this machine has no room now; else the command is at fault.
        resources: bool,
        /// In words.
        text: String,
    },
    /// The spawner is gone, therefore the tree is being killed.
    SpawnerLost,
    /// The command itself has ended.
    Exited {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// What it cost.
        usage: ResourceUsage,
        /// When the keeper saw it end: [`monotonic`].
        at: Duration,
    },
    /// Nothing is left of the tree.
    Gone,
}

/// The monotonic clock, which is the same for all processes of this machine.
pub fn monotonic() -> Duration {
    // There is no Linux without this clock; without it every end would be taken for new.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// A value as a frame: four bytes of length (big endian), then JSON.
pub fn frame<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value)?;
    let length = bytes.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{length} bytes, more than {MAX_FRAME}")));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The length that a frame's first four bytes announce.
fn announced(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length > MAX_FRAME { Err(io::Error::other(format!("a frame of {length} bytes"))) } else { Ok(length) }
}

/// Sends a frame, waiting until it is written.
pub fn write_frame<T: Serialize>(mut socket: impl Write, value: &T) -> io::Result<()> {
    socket.write_all(&frame(value)?)
}

/// Reads a frame, waiting until it is there.
pub fn read_frame<T: for<'de> Deserialize<'de>>(mut socket: impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    socket.read_exact(&mut head)?;
    let mut body = vec![0; announced(head)?];
    socket.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Takes the first frame off what was received, if it is there as a whole.
pub fn take_frame<T: for<'de> Deserialize<'de>>(received: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some((head, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = announced(*head)?;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let value = serde_json::from_slice(body)?;
    received.drain(..4 + length);
    Ok(Some(value))
}

/// Hands descriptors over with a request, without waiting. The request is one byte: so a read of one byte gets
/// the descriptors of one request, and those only.
pub fn hand_over(socket: BorrowedFd<'_>, request: Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let bytes = [request.as_byte()];
    let (payload, rights) = ([IoSlice::new(&bytes)], [ControlMessage::ScmRights(&raw)]);
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &payload, &rights, flags, None)?;
    Ok(())
}

/// What was taken from the engine's socket.
#[derive(Debug)]
pub enum Taken {
    /// A request with its descriptors.
    Request(Request, Vec<OwnedFd>),
    /// Nothing now.
    Nothing,
    /// The engine is gone.
    End,
}

/// Takes the next request, without waiting. A request whose descriptors did not fit is dropped with them.
pub fn take_over(socket: BorrowedFd<'_>) -> io::Result<Taken> {
    let mut byte = [0];
    let mut payload = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([std::os::fd::RawFd; MAX_HANDED]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut payload, Some(&mut space), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Taken::Nothing),
        Err(Errno::ECONNRESET) => return Ok(Taken::End),
        Err(errno) => return Err(errno.into()),
    };
    if message.bytes == 0 {
        return Ok(Taken::End);
    }
    let Ok(messages) = message.cmsgs() else { return Ok(Taken::Nothing) };
    let mut descriptors = vec![];
    for control in messages {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: recvmsg has just made these descriptors for us; nobody else knows their numbers.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok(Request::from_byte(byte[0]).map_or(Taken::Nothing, |request| Taken::Request(request, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_where_they_were_joined() {
        let reports = [Report::Started { pid: 7 }, Report::Gone];
        let whole: Vec<u8> = reports.iter().flat_map(|report| frame(report).unwrap()).collect();
        let mut received = vec![];
        let mut taken = vec![];
        for byte in whole {
            received.push(byte);
            taken.extend(take_frame::<Report>(&mut received).unwrap());
        }
        assert_eq!(taken, reports);
        assert!(received.is_empty());
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut received = u32::MAX.to_be_bytes().to_vec();
        assert!(take_frame::<Report>(&mut received).is_err());
        assert!(read_frame::<Report>(received.as_slice()).is_err());
        assert!(frame(&"x".repeat(MAX_FRAME)).is_err());
    }
}
