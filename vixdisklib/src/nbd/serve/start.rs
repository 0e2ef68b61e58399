//! From what was asked for to a server that runs: every mistake is found before the first client comes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::channel::Channel;
use super::listener::Listener;
use super::metrics_socket::MetricsSocket;
use super::stream::Stream;
use super::supervisor::{Addresses, Supervisor};
use super::uri::Scheme;
use super::{Endpoint, Server, ServerError, ServerHandle};
use crate::nbd::session::Shared;
use crate::nbd::table::ExportTable;

impl Server {
    /// Opens the sockets and serves from threads of its own, until the handle stops it.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left behind then.
    pub fn start(self) -> Result<ServerHandle, ServerError> {
        self.check()?;
        #[cfg(feature = "nbd-tls")]
        let scheme = match &self.tls {
            Some(tls) if tls.required => Scheme::Tls,
            _ => Scheme::Plain,
        };
        #[cfg(not(feature = "nbd-tls"))]
        let scheme = Scheme::Plain;
        let to_stream = move |channel| {
            Stream::new(
                channel,
                #[cfg(feature = "nbd-tls")]
                self.tls.clone(),
            )
        };
        let mut listeners = Vec::new();
        let mut streams = Vec::new();
        for endpoint in self.endpoints {
            match endpoint {
                Endpoint::Unix(path) => listeners.push(Listener::unix(&path)?),
                Endpoint::Tcp(address) => listeners.push(Listener::tcp(address)?),
                #[cfg(target_os = "linux")]
                Endpoint::Vsock(port) => listeners.push(Listener::vsock(port)?),
                Endpoint::Inherited(socket) => listeners.push(Listener::inherited(socket)?),
                Endpoint::Connection { input, output } => {
                    let channel = Channel::connected(input, output, &self.limits)?;
                    streams.push(to_stream(channel));
                }
            }
        }
        let metrics = self
            .metrics
            .as_deref()
            .map(MetricsSocket::bind)
            .transpose()?;
        let mut names: Vec<&str> = self.exports.iter().map(|entry| &*entry.name).collect();
        if names.is_empty() {
            names.push("");
        }
        let uris = listeners
            .iter()
            .flat_map(|listener| names.iter().filter_map(|name| listener.uri(scheme, name)))
            .collect();
        let tcp_addresses = listeners.iter().filter_map(Listener::tcp_address).collect();
        let exports = ExportTable::new(self.exports, self.default_export, self.source);
        let shared = Arc::new(Shared::new(exports, self.limits));
        let stop_after_last = self.stop_after_last || listeners.is_empty();
        let addresses = Addresses { listeners, metrics };
        let (supervisor, waker) = Supervisor::new(
            Arc::clone(&shared),
            addresses,
            Box::new(to_stream),
            stop_after_last,
        )
        .map_err(ServerError::Resources)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = {
            let stopped = Arc::clone(&stopped);
            std::thread::Builder::new()
                .name("nbd-server".to_owned())
                .spawn(move || {
                    let result = supervisor.run(streams);
                    stopped.store(true, Ordering::Release);
                    result
                })
                .map_err(ServerError::Resources)?
        };
        Ok(ServerHandle {
            uris,
            tcp_addresses,
            shared,
            waker,
            stopped,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn check(&self) -> Result<(), ServerError> {
        let nothing = self.exports.is_empty() && self.source.is_none();
        if nothing || self.endpoints.is_empty() {
            return Err(ServerError::Nothing);
        }
        let mut names = HashSet::new();
        for entry in &self.exports {
            let name = &entry.name;
            if !entry.is_sendable() {
                return Err(ServerError::BadText);
            }
            if !names.insert(name) {
                return Err(ServerError::SameName { name: name.clone() });
            }
            if entry.is_too_large() {
                return Err(ServerError::TooLarge { name: name.clone() });
            }
            entry
                .check_contexts()
                .map_err(|bad| ServerError::BadContext {
                    export: name.clone(),
                    context: bad.name,
                    reason: bad.reason,
                })?;
        }
        match &self.default_export {
            Some(name) if self.source.is_none() && !names.contains(name) => {
                Err(ServerError::NoSuchDefault { name: name.clone() })
            }
            _ => Ok(()),
        }
    }
}
