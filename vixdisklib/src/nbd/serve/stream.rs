//! One connection: a Unix or TCP socket as the byte stream of a session.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::net::sockopt;

use crate::nbd::session::ByteStream;

/// Room for replies that the client has not taken yet. The default of Linux makes large replies over Unix sockets
/// twice as slow; the kernel lowers this to what the administrator allows.
const SEND_BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn unix(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        Ok(Self::Unix(socket))
    }

    pub(super) fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        // Finds clients whose machine died, which would hold their connection for ever.
        sockopt::set_socket_keepalive(&socket, true)?;
        Ok(Self::Tcp(socket))
    }

    /// Ends receiving: what has arrived can still be read, then the stream is at its end.
    pub(super) fn stop_receiving(&self) {
        self.shutdown(Shutdown::Read);
    }

    /// Ends both directions.
    pub(super) fn cut(&self) {
        self.shutdown(Shutdown::Both);
    }

    fn shutdown(&self, how: Shutdown) {
        let result = match self {
            Self::Unix(socket) => socket.shutdown(how),
            Self::Tcp(socket) => socket.shutdown(how),
        };
        // The client may have closed before.
        if let Err(error) = result {
            tracing::trace!(%error, ?how, "shutdown of a connection");
        }
    }
}

impl ByteStream for Stream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => (&*socket).read(buf),
            Self::Tcp(socket) => (&*socket).read(buf),
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => (&*socket).write_vectored(slices),
            Self::Tcp(socket) => (&*socket).write_vectored(slices),
        }
    }

    fn close(&self) {
        self.cut();
    }
}
