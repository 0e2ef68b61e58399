//! What carries the bytes of one connection: a socket, or a pair of descriptors.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{FileType, fstat};
use rustix::net::sockopt;
use rustix::net::{Shutdown, SocketType};

use super::ServerError;
use super::pipe_pair::PipePair;
use super::socket::Socket;
use crate::nbd::limits::Limits;
use crate::nbd::session::ByteStream;

#[derive(Debug)]
pub(super) enum Channel {
    /// A connected stream socket of any family.
    Socket(Socket),
    Pair(PipePair),
}

impl Channel {
    /// Takes a connected socket.
    pub(super) fn socket(socket: OwnedFd, limits: &Limits) -> io::Result<Self> {
        Socket::new(socket, limits).map(Self::Socket)
    }

    /// Takes a connection that somebody else made, on one descriptor or two.
    pub(super) fn connected(
        input: OwnedFd,
        output: Option<OwnedFd>,
        limits: &Limits,
    ) -> Result<Self, ServerError> {
        let unusable = |error: io::Error| ServerError::inherited("it is unusable", error);
        let Some(output) = output else {
            return if is_stream_socket(&input) && sockopt::socket_acceptconn(&input) == Ok(false) {
                Self::socket(input, limits).map_err(unusable)
            } else {
                Err(ServerError::inherited("it is no connection", None))
            };
        };
        if is_stream_socket(&input) && is_same(&input, &output) {
            return Self::socket(input, limits).map_err(unusable);
        }
        PipePair::new(input, output, limits.write_timeout)
            .map(Self::Pair)
            .map_err(unusable)
    }

    /// Ends receiving: what has arrived can still be read, then the stream is at its end.
    pub(super) fn stop_receiving(&self) {
        match self {
            Self::Socket(socket) => socket.shut(Shutdown::Read),
            Self::Pair(pair) => pair.stop_receiving(),
        }
    }

    /// Ends both directions.
    pub(super) fn cut(&self) {
        match self {
            Self::Socket(socket) => socket.shut(Shutdown::Both),
            Self::Pair(pair) => pair.cut(),
        }
    }
}

impl ByteStream for Channel {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(buf),
            Self::Pair(pair) => pair.read(buf),
        }
    }

    fn read_until(&self, buf: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read_until(buf, deadline),
            Self::Pair(pair) => pair.read_until(buf, Some(deadline)),
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write_vectored(slices),
            Self::Pair(pair) => pair.write(slices),
        }
    }

    fn tells_stalls(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.tells_stalls(),
            Self::Pair(_) => false,
        }
    }

    fn sends_files(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.sends_files(),
            Self::Pair(_) => false,
        }
    }

    fn send_file(&self, file: &File, position: u64, length: usize) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send_file(file, position, length),
            Self::Pair(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn close(&self) {
        self.cut();
    }
}

pub(super) fn is_stream_socket(fd: &OwnedFd) -> bool {
    sockopt::socket_type(fd) == Ok(SocketType::STREAM)
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => {
            FileType::from_raw_mode(one.st_mode) == FileType::Socket
                && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        }
        _ => false,
    }
}
