//! Sockets between virtual machines and their host.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{VsockAddr, bind, getsockname};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Every address of this machine (`VMADDR_CID_ANY`).
const ANY: u32 = u32::MAX;

/// A socket that listens at `port` for all who can reach this machine.
pub(super) fn listen(port: u32, backlog: i32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    bind(socket.as_raw_fd(), &VsockAddr::new(ANY, port))?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// Address and port of `socket`, if it is one of this kind.
pub(super) fn address(socket: &OwnedFd) -> Option<(u32, u32)> {
    let address: VsockAddr = getsockname(socket.as_raw_fd()).ok()?;
    Some((address.cid(), address.port()))
}
