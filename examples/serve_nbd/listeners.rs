//! Where clients come from: an address, sockets that the process was started with, or standard input and output.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vixdisklib::nbd::{InheritedSocket, Server, Tls, TlsClients};

use crate::options::{AddressOptions, TlsMode, TlsOptions};
use crate::{Result, common};

/// The port of NBD (IANA).
const PORT: u16 = 10809;

/// What clients connect to.
pub(crate) struct Listeners {
    place: Place,
    /// The folder of a private socket, which goes with it.
    private: Option<TempDir>,
}

enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
    Vsock(u32),
    Inherited(Vec<InheritedSocket>),
    Standard,
}

impl Listeners {
    /// The place that the options name, or else the sockets that are there already, or else the default one.
    pub(crate) fn new(
        options: &AddressOptions,
        inherited: Vec<InheritedSocket>,
        is_for_command: bool,
    ) -> Result<Self> {
        let at = |place| {
            Ok(Self {
                place,
                private: None,
            })
        };
        if !inherited.is_empty() {
            if options.is_given() {
                return Err("the process was started with sockets to listen at (LISTEN_FDS), so it takes no --unix, \
                            --ipaddr, --port, --listen, --vsock or --single"
                    .into());
            }
            return at(Place::Inherited(inherited));
        }
        if options.stdio {
            return at(Place::Standard);
        }
        if let Some(port) = options.vsock {
            return at(Place::Vsock(port));
        }
        match &options.unix {
            Some(path) if path.as_os_str() != "-" => {
                return at(Place::Unix(std::path::absolute(path)?));
            }
            None if options.is_given() || !is_for_command => return at(Place::Tcp(tcp(options)?)),
            _ => {}
        }
        let folder = tempfile::Builder::new().prefix("serve_nbd-").tempdir()?;
        Ok(Self {
            place: Place::Unix(folder.path().join("socket")),
            private: Some(folder),
        })
    }

    pub(crate) fn add_to(&mut self, mut server: Server) -> Result<Server> {
        match &mut self.place {
            Place::Unix(path) => server = server.listen_unix(path.clone()),
            Place::Tcp(address) => server = server.listen_tcp(*address),
            Place::Vsock(port) => server = server.listen_vsock(*port),
            Place::Inherited(sockets) => {
                for socket in sockets.drain(..) {
                    server = server.listen_socket(socket.socket);
                }
            }
            Place::Standard => {
                server = server.connection_pair(
                    descriptor(io::stdin().as_fd().try_clone_to_owned(), "input")?,
                    descriptor(io::stdout().as_fd().try_clone_to_owned(), "output")?,
                );
            }
        }
        Ok(server)
    }

    /// Whether this process chose the address, so that somebody has to be told.
    pub(crate) fn are_ours(&self) -> bool {
        !matches!(self.place, Place::Inherited(_) | Place::Standard)
    }

    /// The Unix socket, if there is one that is ours.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// The files that must belong to whom the server belongs to.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.private.iter().map(TempDir::path).chain(self.socket())
    }
}

fn descriptor(descriptor: io::Result<OwnedFd>, name: &str) -> Result<OwnedFd> {
    descriptor.map_err(|error| format!("--single: standard {name}: {error}").into())
}

fn tcp(options: &AddressOptions) -> Result<SocketAddr> {
    if let Some(text) = &options.listen {
        let found = text
            .to_socket_addrs()
            .map_err(|error| format!("--listen {text}: {error}; it takes ADDR:PORT"))?
            .next();
        let found = found.ok_or_else(|| format!("--listen {text}: no such address"))?;
        return Ok(found);
    }
    let port = options.port.unwrap_or(PORT);
    let Some(name) = &options.ipaddr else {
        return Ok(([127, 0, 0, 1], port).into());
    };
    let found = (name.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| {
            format!("--ipaddr {name}: {error}; it takes an address or name of this machine")
        })?
        .next();
    let found = found.ok_or_else(|| format!("--ipaddr {name}: no such address"))?;
    Ok(found)
}

/// How connections are encrypted.
pub(crate) fn tls(options: &TlsOptions) -> Result<Option<Tls>> {
    let Some(folder) = &options.tls_certificates else {
        return Ok(None);
    };
    let clients = match options.tls_verify_peer {
        true => TlsClients::WithCertificate,
        false => TlsClients::Any,
    };
    let tls = Tls::load(folder, clients)
        .map_err(|error| format!("--tls-certificates: {}", common::explain(&error)))?;
    Ok(match options.tls {
        Some(TlsMode::Off) => None,
        Some(TlsMode::On) => Some(tls),
        Some(TlsMode::Require) | None => Some(tls.required()),
    })
}
