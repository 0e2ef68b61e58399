//! Sockets that the program was started with, by systemd's protocol of socket activation.
//!
//! Source: `sd_listen_fds(3)` of systemd; libnbd's `nbd_connect_systemd_socket_activation` and qemu speak it too.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};

use super::ServerError;

/// Descriptors cannot be owned twice.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A listening socket that the program was started with.
#[derive(Debug)]
#[non_exhaustive]
pub struct InheritedSocket {
    /// What `FileDescriptorName=` calls it; empty if there is no name.
    pub name: String,
    /// For [`Server::listen_socket`](crate::nbd::Server::listen_socket).
    pub socket: OwnedFd,
}

/// Takes the sockets that systemd, or a program that acts like it, started this program with: `LISTEN_PID` is this
/// process and `LISTEN_FDS` says how many there are from descriptor 3 on. None if it was started in another way, and in
/// every call but the first. Programs that this one starts do not get the sockets.
///
/// Call it before anything else opens files: what is at those descriptors is taken for what the variables say.
///
/// # Errors
/// [`ServerError::Inherited`] if one of them is no stream socket of a family that a server can use.
pub fn inherited_sockets() -> Result<Vec<InheritedSocket>, ServerError> {
    let ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !ours || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = ListenFd::from_env();
    (0..sockets.len())
        .map(|index| {
            let name = names.next().unwrap_or_default().to_owned();
            Ok(InheritedSocket {
                name,
                socket: take(&mut sockets, index)?,
            })
        })
        .collect()
}

fn take(sockets: &mut ListenFd, index: usize) -> Result<OwnedFd, ServerError> {
    if let Ok(Some(socket)) = sockets.take_unix_listener(index) {
        return Ok(socket.into());
    }
    if let Ok(Some(socket)) = sockets.take_tcp_listener(index) {
        return Ok(socket.into());
    }
    let family = i32::from(AddressFamily::VSOCK.as_raw());
    let stream = i32::try_from(SocketType::STREAM.as_raw()).expect("a small number");
    sockets
        .take_custom(index, family, stream, "vsock socket")
        .and_then(|socket| socket.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
        .map_err(|error| ServerError::inherited("it is no stream socket", error))
}
