//! Sockets: who may connect, one thread for each client, an orderly end.

mod admission;
mod channel;
mod connections;
mod error;
mod handle;
mod inherited;
mod listener;
mod metrics_socket;
mod pipe_pair;
mod polling;
mod socket;
mod start;
mod stream;
mod supervisor;
#[cfg(feature = "nbd-tls")]
mod tls;
mod unix_socket;
mod uri;
#[cfg(target_os = "linux")]
mod vsock;

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::export::Export;
use super::limits::Limits;
use super::source::ExportSource;
use super::table::Entry;
pub use error::ServerError;
pub use handle::ServerHandle;
pub use inherited::{InheritedSocket, inherited_sockets};
#[cfg(feature = "nbd-tls")]
pub use tls::{Tls, TlsClients, TlsError};

/// What a server will serve, where and within which limits; [`start`](Server::start) makes it run.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::nbd::{DiskExport, Server};
/// use vixdisklib::{Library, OpenFlags};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::empty())?.into_shared()?;
/// let server = Server::new()
///     .export("disk", "my first export", DiskExport::new(disk.clone())?)
///     .listen_tcp(([127, 0, 0, 1], 0).into())
///     .start()?;
/// println!("{}", server.uris()[0]); // nbd://127.0.0.1:40323/disk
///
/// server.stop();
/// server.wait()?;
/// drop(server);
/// disk.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use]
pub struct Server {
    exports: Vec<Entry>,
    default_export: Option<String>,
    source: Option<Box<dyn ExportSource>>,
    endpoints: Vec<Endpoint>,
    stop_after_last: bool,
    metrics: Option<PathBuf>,
    #[cfg(feature = "nbd-tls")]
    tls: Option<Tls>,
    limits: Limits,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("exports", &self.exports)
            .field("endpoints", &self.endpoints)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
    #[cfg(target_os = "linux")]
    Vsock(u32),
    Inherited(OwnedFd),
    Connection {
        input: OwnedFd,
        output: Option<OwnedFd>,
    },
}

impl Server {
    /// A server with default [`Limits`], that serves nothing nowhere yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an export. Clients ask for it by `name`; if it is the only one, also by the empty name. The
    /// `description` is for people and may be empty.
    pub fn export(
        self,
        name: impl Into<String>,
        description: impl Into<String>,
        export: impl Export + 'static,
    ) -> Self {
        self.shared_export(name, description, Arc::new(export))
    }

    /// The same as [`export`](Server::export) for an export that others use too, perhaps other servers or the same one
    /// under another name.
    pub fn shared_export(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        export: Arc<dyn Export>,
    ) -> Self {
        let entry = Entry::new(name.into(), description.into(), export);
        self.exports.push(entry);
        self
    }

    /// Says which export the empty name stands for, which is what clients ask for that name none. Without it, and with
    /// several exports of which none has the empty name, such clients are refused.
    pub fn default_export(mut self, name: impl Into<String>) -> Self {
        self.default_export = Some(name.into());
        self
    }

    /// Asks `source` for exports that were not added one by one. Replaces the source if there was one.
    pub fn source(mut self, source: impl ExportSource + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Listens at a Unix socket that is made with mode 0600, so that only this user can connect. A socket left
    /// behind by a dead server is replaced; anything else at `path` is an error. The socket is removed at the end.
    pub fn listen_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.endpoints.push(Endpoint::Unix(path.into()));
        self
    }

    /// Listens at a TCP address; port 0 takes any free one. There is no access control but the address: everybody
    /// who can reach it can read the exports, and write those that are not read-only.
    pub fn listen_tcp(mut self, address: SocketAddr) -> Self {
        self.endpoints.push(Endpoint::Tcp(address));
        self
    }

    /// Listens at a port for virtual machines on this host, or inside one for its host (`AF_VSOCK`, Linux). Port
    /// `u32::MAX` takes any free one. Everybody on the other side can connect.
    #[cfg(target_os = "linux")]
    pub fn listen_vsock(mut self, port: u32) -> Self {
        self.endpoints.push(Endpoint::Vsock(port));
        self
    }

    /// Accepts clients at a stream socket that listens already: of [`inherited_sockets`], or any other
    /// `UnixListener`, `TcpListener` or `OwnedFd`. A file that belongs to it is left alone at the end.
    pub fn listen_socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.endpoints.push(Endpoint::Inherited(socket.into()));
        self
    }

    /// Serves one client that is connected already: a `UnixStream`, `TcpStream` or `OwnedFd`. A server that has only
    /// such clients, and no address, stops when the last one has left.
    pub fn connection(mut self, stream: impl Into<OwnedFd>) -> Self {
        self.endpoints.push(Endpoint::Connection {
            input: stream.into(),
            output: None,
        });
        self
    }

    /// The same as [`connection`](Server::connection) for a client on two descriptors, such as standard input and
    /// output, each a pipe or a socket; both may be the same socket, as with `inetd`.
    pub fn connection_pair(
        mut self,
        input: impl Into<OwnedFd>,
        output: impl Into<OwnedFd>,
    ) -> Self {
        self.endpoints.push(Endpoint::Connection {
            input: input.into(),
            output: Some(output.into()),
        });
        self
    }

    /// Stops by itself when the last client has left that had chosen an export, as [`ServerHandle::stop`] does. Clients
    /// that only list exports or hang up before do not count.
    pub fn stop_after_last_client(mut self) -> Self {
        self.stop_after_last = true;
        self
    }

    /// Tells [`ServerHandle::metrics`] to everybody who connects to a Unix socket at `path`, which is made and removed as
    /// by [`listen_unix`](Server::listen_unix). Who sends an HTTP request gets an HTTP answer, all others the bare text.
    pub fn metrics_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.metrics = Some(path.into());
        self
    }

    /// Encrypts connections, at all addresses alike.
    #[cfg(feature = "nbd-tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
