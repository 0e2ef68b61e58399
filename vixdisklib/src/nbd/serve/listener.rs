//! One address at which clients arrive.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::ServerError;
use super::stream::Stream;
use super::unix_socket::UnixSocket;
use super::uri;

/// A socket that accepts connections and never blocks.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixSocket),
    Tcp(TcpListener, SocketAddr),
}

impl Listener {
    pub(super) fn unix(path: &Path) -> Result<Self, ServerError> {
        UnixSocket::bind(path).map(Self::Unix)
    }

    pub(super) fn tcp(address: SocketAddr) -> Result<Self, ServerError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let real = listener.local_addr()?;
            Ok(Self::Tcp(listener, real))
        };
        bind().map_err(|error| ServerError::listen(address.to_string(), error))
    }

    pub(super) fn uri(&self, export: &str) -> String {
        match self {
            Self::Unix(socket) => uri::unix(socket.path(), export),
            Self::Tcp(_, address) => uri::tcp(*address, export),
        }
    }

    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(_, address) => Some(*address),
        }
    }

    /// The next client that waits, and what to call it in logs; `None` if nobody does.
    pub(super) fn accept(&self) -> io::Result<Option<(Stream, String)>> {
        let accepted = match self {
            Self::Unix(socket) => socket.listener.accept().and_then(|(stream, _)| {
                Ok((Stream::unix(stream)?, socket.path().display().to_string()))
            }),
            Self::Tcp(listener, _) => listener
                .accept()
                .and_then(|(stream, peer)| Ok((Stream::tcp(stream)?, peer.to_string()))),
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.listener.as_fd(),
            Self::Tcp(listener, _) => listener.as_fd(),
        }
    }
}
