//! Sockets: who may connect, one thread for each client, an orderly end.

mod listener;
mod stream;
mod supervisor;
mod unix_socket;
mod uri;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::counters::Counters;
use super::export::{Export, ExportError};
use super::limits::Limits;
use super::session::Shared;
use super::table::{Entry, ExportTable};
use super::wire::MAX_STRING;
use listener::Listener;
use supervisor::{Supervisor, Waker};

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
#[derive(Debug, Default)]
#[must_use]
pub struct Server {
    exports: Vec<Entry>,
    endpoints: Vec<Endpoint>,
    limits: Limits,
}

#[derive(Clone, Debug)]
enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Server {
    /// A server with default [`Limits`], that serves nothing nowhere yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an export. Clients ask for it by `name`; if it is the only one, also by the empty name. The
    /// `description` is for people and may be empty.
    pub fn export(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        export: impl Export + 'static,
    ) -> Self {
        self.exports.push(Entry {
            name: name.into(),
            description: description.into(),
            export: Arc::new(export),
        });
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

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Opens the sockets and serves from threads of its own, until the handle stops it.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left behind then.
    pub fn start(self) -> Result<ServerHandle, ServerError> {
        self.check()?;
        let mut listeners = Vec::new();
        for endpoint in &self.endpoints {
            listeners.push(match endpoint {
                Endpoint::Unix(path) => Listener::unix(path)?,
                Endpoint::Tcp(address) => Listener::tcp(*address)?,
            });
        }
        let names = self.exports.iter().map(|entry| entry.name.as_str());
        let uris = listeners
            .iter()
            .flat_map(|listener| names.clone().map(|name| listener.uri(name)))
            .collect();
        let tcp_addresses = listeners.iter().filter_map(Listener::tcp_address).collect();
        let shared = Arc::new(Shared::new(ExportTable::new(self.exports), self.limits));
        let (supervisor, waker) =
            Supervisor::new(Arc::clone(&shared), listeners).map_err(ServerError::Resources)?;
        let thread = std::thread::Builder::new()
            .name("nbd-server".to_owned())
            .spawn(move || supervisor.run())
            .map_err(ServerError::Resources)?;
        Ok(ServerHandle {
            uris,
            tcp_addresses,
            shared,
            waker,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn check(&self) -> Result<(), ServerError> {
        if self.exports.is_empty() || self.endpoints.is_empty() {
            return Err(ServerError::Nothing);
        }
        let mut names = HashSet::new();
        for entry in &self.exports {
            let name = &entry.name;
            let texts = [name, &entry.description];
            if texts
                .iter()
                .any(|text| text.len() > MAX_STRING || text.contains('\0'))
            {
                return Err(ServerError::BadText);
            }
            if !names.insert(name) {
                return Err(ServerError::SameName { name: name.clone() });
            }
            if i64::try_from(entry.export.size().get()).is_err() {
                return Err(ServerError::TooLarge { name: name.clone() });
            }
        }
        Ok(())
    }
}

/// A running server; `Sync`, so one thread may wait while another stops it. Dropping it stops the server and waits,
/// as [`stop`](ServerHandle::stop) and [`wait`](ServerHandle::wait) do, and then lets go of the exports.
#[derive(Debug)]
pub struct ServerHandle {
    uris: Vec<String>,
    tcp_addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<Result<(), ServerError>>>>,
}

impl ServerHandle {
    /// Where clients find the exports: for each address in the order they were added, each export. The port is the
    /// real one, also if port 0 was asked for.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The TCP addresses that the server listens at, in the order they were added, with their real ports.
    #[must_use]
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.tcp_addresses
    }

    /// What the server has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.snapshot()
    }

    /// Begins to stop and returns at once: nobody can connect any more, requests that run are finished and
    /// answered, later ones are refused with `ESHUTDOWN`, exports are flushed. Clients that do not take their
    /// answers within [`Limits::grace`] are cut off.
    pub fn stop(&self) {
        self.shared.begin_stop();
        self.waker.wake();
    }

    /// Waits until the server has stopped, which only [`stop`](ServerHandle::stop) makes it do.
    ///
    /// # Errors
    /// [`ServerError::Flush`] if an export could not be made durable at the end. Only the first call tells.
    /// [`ServerError::Panicked`] if an export panicked in that.
    pub fn wait(&self) -> Result<(), ServerError> {
        // Held while waiting, so that whoever else waits does so as long.
        let mut thread = self.thread.lock();
        match thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(ServerError::Panicked)),
            None => Ok(()),
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop();
        if let Err(error) = self.wait() {
            tracing::error!(%error, "stopping on drop");
        }
    }
}

/// Why a server could not start, or what went wrong at its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no export, or no address to listen at.
    #[error("a server needs an export and an address to listen at")]
    Nothing,
    /// A name or a description of an export cannot be sent to clients.
    #[error("the name or description of an export is longer than 4096 bytes or has a NUL in it")]
    BadText,
    /// Two exports have the same name.
    #[error("there are two exports with the name {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// An export has 2^63 bytes or more.
    #[error("export {name:?} is too large for clients")]
    TooLarge {
        /// The name of the export.
        name: String,
    },
    /// An address or a socket path cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address, or the path of the socket.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// Another server listens at the socket.
    #[error("cannot listen at {}: another server does already", path.display())]
    SocketInUse {
        /// The path of the socket.
        path: PathBuf,
    },
    /// There is something at the path that is not a socket.
    #[error("cannot listen at {}: it exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system has no thread or descriptor left.
    #[error("cannot start the server")]
    Resources(#[source] io::Error),
    /// An export could not be flushed when the server stopped: late writes may be lost.
    #[error("flushing export {name:?} at the end failed")]
    Flush {
        /// The name of the export.
        name: String,
        /// The cause.
        source: ExportError,
    },
    /// The server, or an export that it flushed, panicked: late writes may be lost.
    #[error("the server ended by a panic")]
    Panicked,
}

impl ServerError {
    fn listen(address: impl Into<String>, source: io::Error) -> Self {
        Self::Listen {
            address: address.into(),
            source,
        }
    }

    fn listen_path(path: &Path, source: io::Error) -> Self {
        Self::listen(path.display().to_string(), source)
    }
}
