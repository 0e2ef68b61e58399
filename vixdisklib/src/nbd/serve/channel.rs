//! What carries the bytes of one connection: a socket, or a pair of descriptors.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, Shutdown, SocketType, sendmsg, shutdown,
};

use super::ServerError;
use super::pipe_pair::PipePair;
use crate::nbd::limits::Limits;
use crate::nbd::session::ByteStream;

/// Room for replies that the client has not taken yet. The default of Linux makes large replies over Unix sockets
/// twice as slow; the kernel lowers this to what the administrator allows.
const SEND_BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(super) enum Channel {
    /// A connected stream socket of any family.
    Socket(OwnedFd),
    Pair(PipePair),
}

impl Channel {
    /// Takes a connected socket.
    pub(super) fn socket(socket: OwnedFd, limits: &Limits) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, false)?;
        match sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?,
            AddressFamily::INET | AddressFamily::INET6 => tune_tcp(&socket, limits)?,
            _ => {}
        }
        // A client that takes nothing for so long fails the write, and with it its session.
        let bounded = |time: Option<Duration>| time.filter(|time| !time.is_zero());
        sockopt::set_socket_timeout(&socket, Timeout::Send, bounded(limits.write_timeout))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, bounded(limits.idle_timeout))?;
        Ok(Self::Socket(socket))
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
            Self::Socket(socket) => shut(socket, Shutdown::Read),
            Self::Pair(pair) => pair.stop_receiving(),
        }
    }

    /// Ends both directions.
    pub(super) fn cut(&self) {
        match self {
            Self::Socket(socket) => shut(socket, Shutdown::Both),
            Self::Pair(pair) => pair.cut(),
        }
    }
}

impl ByteStream for Channel {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => Ok(rustix::io::read(socket, buf)?),
            Self::Pair(pair) => pair.read(buf),
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => {
                let mut nothing = SendAncillaryBuffer::new(&mut [] as &mut [MaybeUninit<u8>]);
                // Without a signal, which would end programs that do not expect it.
                let sent = sendmsg(socket, slices, &mut nothing, SendFlags::NOSIGNAL)?;
                Ok(sent)
            }
            Self::Pair(pair) => pair.write(slices),
        }
    }

    fn close(&self) {
        self.cut();
    }
}

fn shut(socket: &OwnedFd, how: Shutdown) {
    // The client may have closed before.
    if let Err(error) = shutdown(socket, how) {
        tracing::trace!(%error, ?how, "shutdown of a connection");
    }
}

/// Finds clients whose machine died, which would hold their connection for ever, and sends small replies at once.
fn tune_tcp(socket: &OwnedFd, limits: &Limits) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    let Some(idle) = limits.keepalive else {
        return Ok(());
    };
    const PROBES: u32 = 6;
    // The kernel counts in seconds and takes at most 32767 of them.
    let seconds = |time: Duration| Duration::from_secs(time.as_secs().clamp(1, 32_767));
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, seconds(idle))?;
    sockopt::set_tcp_keepintvl(socket, seconds(idle / PROBES))?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    // Nothing is probed while sent data waits to be acknowledged: this is the same for that case.
    #[cfg(target_os = "linux")]
    {
        let total = u32::try_from((idle * 2).as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, total)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn tcp_clients_are_asked_whether_they_live() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = |limits: &Limits| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().unwrap();
            match Channel::socket(stream.into(), limits).unwrap() {
                Channel::Socket(socket) => socket,
                Channel::Pair(_) => panic!("it is one socket"),
            }
        };
        let mut limits = Limits {
            keepalive: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(7)),
            ..Limits::default()
        };
        let socket = accept(&limits);
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap().as_secs(), 30);
        let probing = sockopt::tcp_keepintvl(&socket).unwrap().as_secs()
            * u64::from(sockopt::tcp_keepcnt(&socket).unwrap());
        assert_eq!(probing, 30);
        let send = sockopt::socket_timeout(&socket, Timeout::Send).unwrap();
        assert_eq!(send, Some(Duration::from_secs(7)));
        limits.keepalive = None;
        limits.write_timeout = None;
        let socket = accept(&limits);
        assert!(!sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(
            sockopt::socket_timeout(&socket, Timeout::Send).unwrap(),
            None
        );
    }
}
