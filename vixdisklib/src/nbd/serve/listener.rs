//! One address at which clients arrive.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, acceptfrom_with, getsockname, sockopt};

use super::ServerError;
use super::channel::is_stream_socket;
use super::unix_socket::UnixSocket;
use super::uri::{self, Scheme};

/// A socket that accepts connections and never blocks.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    /// With a file of its own.
    Unix(UnixSocket),
    Plain(OwnedFd),
}

/// How clients reach a listener.
#[derive(Debug)]
enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
    #[cfg(target_os = "linux")]
    Vsock(u32, u32),
    /// In a way that has no URI.
    Unnamed,
}

/// A client that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: OwnedFd,
    /// What to call it in logs.
    pub(super) name: String,
    /// Its machine, if it comes over a network.
    pub(super) machine: Option<IpAddr>,
}

impl Listener {
    pub(super) fn unix(path: &Path) -> Result<Self, ServerError> {
        let socket = UnixSocket::bind(path)?;
        Ok(Self {
            address: Address::Unix(socket.path().to_owned()),
            socket: Socket::Unix(socket),
        })
    }

    pub(super) fn tcp(address: SocketAddr) -> Result<Self, ServerError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Self {
                address: Address::Tcp(listener.local_addr()?),
                socket: Socket::Plain(listener.into()),
            })
        };
        bind().map_err(|error| ServerError::listen(address.to_string(), error))
    }

    #[cfg(target_os = "linux")]
    pub(super) fn vsock(port: u32) -> Result<Self, ServerError> {
        use super::vsock;
        let socket = vsock::listen(port, BACKLOG)
            .map_err(|error| ServerError::listen(format!("vsock port {port}"), error))?;
        Ok(Self {
            address: Address::of(&socket),
            socket: Socket::Plain(socket),
        })
    }

    pub(super) fn inherited(socket: OwnedFd) -> Result<Self, ServerError> {
        if !is_stream_socket(&socket) || sockopt::socket_acceptconn(&socket) != Ok(true) {
            let reason = "it is no stream socket that listens";
            return Err(ServerError::inherited(reason, None));
        }
        rustix::io::ioctl_fionbio(&socket, true)
            .map_err(|errno| ServerError::inherited("it is unusable", io::Error::from(errno)))?;
        Ok(Self {
            address: Address::of(&socket),
            socket: Socket::Plain(socket),
        })
    }

    /// Where clients find `export`; none if the address cannot be written as a URI.
    pub(super) fn uri(&self, scheme: Scheme, export: &str) -> Option<String> {
        match &self.address {
            Address::Unix(path) => Some(uri::unix(scheme, path, export)),
            Address::Tcp(address) => Some(uri::tcp(scheme, *address, export)),
            #[cfg(target_os = "linux")]
            Address::Vsock(machine, port) => Some(uri::vsock(scheme, *machine, *port, export)),
            Address::Unnamed => None,
        }
    }

    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            _ => None,
        }
    }

    /// The next client that waits; `None` if nobody does.
    pub(super) fn accept(&self) -> io::Result<Option<Accepted>> {
        let (socket, from) = match acceptfrom_with(self.as_fd(), SocketFlags::CLOEXEC) {
            Ok(accepted) => accepted,
            Err(errno) if concerns_one_client(errno) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        let name = match (from, &self.address) {
            (Some(from), _) => from.to_string(),
            (None, Address::Unix(path)) => path.display().to_string(),
            (None, _) => "unnamed".to_owned(),
        };
        Ok(Some(Accepted {
            socket,
            name,
            machine: from.map(|from| from.ip()),
        }))
    }
}

/// Connections that the kernel keeps for the server while it is busy.
pub(super) const BACKLOG: i32 = 128;

/// Whether a failure to accept says nothing about the next client: nobody waits, or the one that did has left.
fn concerns_one_client(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::AGAIN
            | Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

impl Address {
    /// The address of a socket that somebody else made.
    fn of(socket: &OwnedFd) -> Self {
        #[cfg(target_os = "linux")]
        if let Some((machine, port)) = super::vsock::address(socket) {
            return Self::Vsock(machine, port);
        }
        let Ok(address) = getsockname(socket) else {
            return Self::Unnamed;
        };
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Self::Tcp(address);
        }
        let unix = SocketAddrUnix::try_from(address).ok();
        match unix.as_ref().and_then(SocketAddrUnix::path) {
            Some(path) => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
                Self::Unix(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
            }
            None => Self::Unnamed,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket) => socket.listener.as_fd(),
            Socket::Plain(socket) => socket.as_fd(),
        }
    }
}
