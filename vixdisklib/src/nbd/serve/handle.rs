//! A running server, seen by its owner.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::ServerError;
use super::supervisor::Waker;
use crate::nbd::counters::Counters;
use crate::nbd::metrics;
use crate::nbd::session::Shared;

/// A running server; `Sync`, so one thread may wait while another stops it. Dropping it stops the server and waits,
/// as [`stop`](ServerHandle::stop) and [`wait`](ServerHandle::wait) do, and then lets go of the exports.
#[derive(Debug)]
pub struct ServerHandle {
    pub(super) uris: Vec<String>,
    pub(super) tcp_addresses: Vec<SocketAddr>,
    pub(super) shared: Arc<Shared>,
    pub(super) waker: Waker,
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) thread: Mutex<Option<JoinHandle<Result<(), ServerError>>>>,
}

impl ServerHandle {
    /// Where clients find the exports: for each address in the order they were added, each export that is there all the
    /// time. The port is the real one, also if port 0 was asked for. A server with nothing but a source of exports has
    /// one for each address, with the empty name.
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

    /// What has been done for one export so far; `None` if there is none of that name. What a source found is there,
    /// with counters that began at 0, only while it is in use.
    #[must_use]
    pub fn export_counters(&self, name: &str) -> Option<Counters> {
        let open = self.shared.exports.all_open();
        let entry = open.iter().find(|entry| entry.name == name)?;
        Some(entry.counters.snapshot())
    }

    /// All counters as text in the OpenMetrics format, which Prometheus reads too: of the server (`nbd_…`) and of each
    /// export that is open (`nbd_export_…{export="name"}`).
    #[must_use]
    pub fn metrics(&self) -> String {
        metrics::text(&self.shared)
    }

    /// Begins to stop and returns at once: nobody can connect any more, requests that run are finished and
    /// answered, later ones are refused with `ESHUTDOWN`, exports are flushed. Clients that do not take their
    /// answers within [`Limits::grace`](crate::nbd::Limits::grace) are cut off.
    pub fn stop(&self) {
        self.shared.begin_stop();
        self.waker.wake();
    }

    /// Whether the server has stopped: all clients are gone, all exports are flushed, [`wait`](ServerHandle::wait)
    /// returns at once.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits until the server has stopped: by [`stop`](ServerHandle::stop), or by itself if it was told to stop after
    /// its last client or has only connections that were there at the start.
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
