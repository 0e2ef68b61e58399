//! A server for NBD that does nothing but answer: no disk, all data from one page, as few system calls as there can be.
//! What a client takes with it is the client's own time, which no server can be faster than.
//!
//! `nbd_answers SOCKET SIZE PART END`, see [`USAGE`]. It serves until it is killed.

#![allow(
    clippy::big_endian_bytes,
    reason = "the protocol has its numbers in this order"
)]

mod content;
mod handshake;
mod transmission;

use std::env;
use std::error::Error;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use self::content::Content;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "\
nbd_answers SOCKET SIZE PART END    an export of SIZE bytes: every second PART of the bytes before END is data, beginning with
                                    the first, and the rest is holes";

/// Bytes that a socket takes before the client has read any.
const SEND_BUFFER: usize = 1 << 20;

fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [socket, size, part, end] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let content = Content::new(size.parse()?, part.parse()?, end.parse()?)?;
    let listener = UnixListener::bind(socket)?;
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let (stream, content) = (stream?, &content);
            scope.spawn(move || {
                // Clients may leave at any time; what they measure tells whether they were served.
                if let Err(error) = serve(&stream, content) {
                    eprintln!("{error}");
                }
            });
        }
        Ok(())
    })
}

fn serve(stream: &UnixStream, content: &Content) -> Result {
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    match handshake::negotiate(stream, content.size)? {
        Some(framing) => transmission::run(stream, content, framing),
        None => Ok(()),
    }
}
