//! Clients that want the server no good.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, Builder};

use super::Result;
use super::connection::{Command, Connection, request};

/// What a crowd does.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Asks for 32 MiB again and again, and takes nothing.
    Greedy,
    /// Connects and says nothing.
    Silent,
    /// The same, and comes again as soon as the server hangs up.
    Returning,
    /// Sends options as fast as they are answered, and comes again when the server hangs up.
    Flood,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "greedy" => Some(Self::Greedy),
            "silent" => Some(Self::Silent),
            "returning" => Some(Self::Returning),
            "flood" => Some(Self::Flood),
            _ => None,
        }
    }
}

/// Greedy requests of one connection.
const REQUESTS: u64 = 64;
const GREED: usize = 32 << 20;

/// Keeps `count` clients at the server until standard input ends; says `ready` when all have come.
pub(crate) fn run(socket: &Path, kind: Kind, count: usize) -> Result {
    let mut idle = Vec::new();
    for _ in 0..count {
        match kind {
            Kind::Greedy => idle.push(ask_for_much(socket)?),
            Kind::Silent => idle.push(UnixStream::connect(socket)?),
            Kind::Returning => come_again(socket, say_nothing)?,
            Kind::Flood => come_again(socket, send_options)?,
        }
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    // Without waiting for those that never end.
    drop(idle);
    std::process::exit(0)
}

fn ask_for_much(socket: &Path) -> Result<UnixStream> {
    let mut stream = Connection::open(socket)?.stream;
    let mut requests = Vec::new();
    for cookie in 0..REQUESTS {
        request(&mut requests, Command::Read, cookie, 0, GREED);
    }
    stream.write_all(&requests)?;
    Ok(stream)
}

/// Connects and lets `act` work, for ever.
fn come_again(socket: &Path, act: fn(&mut UnixStream) -> io::Result<()>) -> Result {
    let socket = socket.to_owned();
    let mut stream = UnixStream::connect(&socket)?;
    let thread = Builder::new().stack_size(64 << 10);
    thread.spawn(move || {
        loop {
            // It always ends with an error, or with the server.
            let _ = act(&mut stream);
            match UnixStream::connect(&socket) {
                Ok(new) => stream = new,
                Err(_) => thread::yield_now(),
            }
        }
    })?;
    Ok(())
}

fn say_nothing(stream: &mut UnixStream) -> io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn send_options(stream: &mut UnixStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 18])?;
    stream.write_all(&[0, 0, 0, 3])?;
    loop {
        // LIST.
        stream.write_all(b"IHAVEOPT\0\0\0\x03\0\0\0\0")?;
        if stream.read(&mut [0; 4096])? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
