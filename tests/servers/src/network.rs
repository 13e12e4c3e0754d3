//! A network of its own for servers that are to be cut off: a switch, and a cable to each server, which can be pulled.
//!
//! It consists of network namespaces that only this process and its servers are in: nothing outside is reached from it,
//! nothing outside reaches it, and the kernel takes it away with the last of them.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, Result, io};
use crate::mongod::Mongod;

/// The first three numbers of every address here (TEST-NET-1, RFC 5737: in use nowhere).
const NETWORK: [u8; 3] = [192, 0, 2];
/// The last number of our own address.
const OURS: u8 = 254;
/// The name of the switch, and of a server's end of its cable.
const SWITCH: &str = "switch";
const SERVERS_END: &str = "server";

/// That this process is in a network of its own.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    _entered: (),
}

impl Network {
    /// Takes this process into a network of its own: it reaches nothing else from then on. Only the calling thread, and
    /// those that it starts later, go there: call it before anything else. Needs root, and the program `ip` (iproute2).
    ///
    /// # Errors
    /// The system does not allow it, or there is no `ip`, or no `mongod` (which is fetched before, while that can be
    /// done).
    pub fn enter() -> Result<Self> {
        Mongod::binary()?;
        own_network("enter a network of its own, which needs root")?;
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", SWITCH, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", address(OURS)), "dev", SWITCH])?;
        ip(&["link", "set", SWITCH, "up"])?;
        Ok(Self { _entered: () })
    }

    /// A cable from the switch to a server that is yet to be started, the `at`-th (from 0).
    pub(crate) fn cable(self, at: usize) -> Result<Cable> {
        let number = u8::try_from(at + 1).ok().filter(|number| *number < OURS);
        let number =
            number.ok_or_else(|| Error::Refused(format!("a network of its own has no room for server {at}")))?;
        let space = thread::spawn(|| {
            own_network("make a network for a server")?;
            File::open("/proc/thread-self/ns/net").map_err(io("hold the network of a server"))
        });
        let space = space.join().map_err(|_| Error::Refused("the thread that makes a network died".to_owned()))??;
        let place = format!("/proc/{}/fd/{}", process::id(), space.as_raw_fd());
        let cable = Cable { port: format!("port{number}"), host: address(number), space: Arc::new(space) };
        ip(&["link", "add", &cable.port, "type", "veth", "peer", "name", SERVERS_END, "netns", &place])?;
        ip(&["link", "set", &cable.port, "master", SWITCH, "up"])?;
        let inside = format!("--net={place}");
        for words in [
            &["link", "set", "lo", "up"][..],
            &["address", "add", &format!("{}/24", cable.host), "dev", SERVERS_END],
            &["link", "set", SERVERS_END, "up"],
        ] {
            call(Command::new("nsenter").arg(&inside).arg("ip").args(words))?;
        }
        Ok(cable)
    }
}

/// What connects one server with the rest.
#[derive(Clone, Debug)]
pub(crate) struct Cable {
    /// Our end of it.
    port: String,
    /// The server's address.
    host: Ipv4Addr,
    /// The server's network; it exists as long as this is open.
    space: Arc<File>,
}

impl Cable {
    /// Where the server listens.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Makes this command start at the far end.
    pub fn attach(&self, command: &mut Command) {
        let space = Arc::clone(&self.space);
        let go_there = move || setns(&*space, CloneFlags::CLONE_NEWNET).map_err(Into::into);
        // SAFETY: between fork and exec only one system call is made, and nothing is allocated or locked.
        unsafe { command.pre_exec(go_there) };
    }

    /// Pulls the cable: what is sent either way is lost without a word, and no connection is told.
    pub fn pull(&self) -> Result<()> {
        ip(&["link", "set", &self.port, "down"])
    }

    /// Puts it in again.
    pub fn put_in(&self) -> Result<()> {
        ip(&["link", "set", &self.port, "up"])
    }
}

fn address(last: u8) -> Ipv4Addr {
    let [first, second, third] = NETWORK;
    Ipv4Addr::new(first, second, third, last)
}

fn own_network(what: &str) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| io(what)(errno.into()))
}

fn ip(words: &[&str]) -> Result<()> {
    call(Command::new("ip").args(words))
}

fn call(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(io("call `ip` (of the package iproute2) or `nsenter` (util-linux)"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::Refused(format!("{command:?} ended with {}: {}", output.status, words.trim())))
}
