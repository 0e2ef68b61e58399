//! Numbers about a running server and its exports.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a server has done so far, or what was done for one export of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted, refused ones included. For an export: those that chose it.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Requests read from clients in the transmission phase.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Bytes read from exports for clients.
    pub bytes_read: u64,
    /// Bytes written to exports for clients; zeroes and trims are not counted.
    pub bytes_written: u64,
}

/// The live side of [`Counters`]. Relaxed order is enough: the numbers say nothing about each other.
#[derive(Debug, Default)]
pub(super) struct LiveCounters {
    pub(super) connections: Count,
    pub(super) connections_open: Count,
    pub(super) requests: Count,
    pub(super) errors: Count,
    pub(super) bytes_read: Count,
    pub(super) bytes_written: Count,
}

impl LiveCounters {
    /// Counts a connection as open until the result is dropped.
    pub(super) fn one_more_open(&self) -> impl Drop + '_ {
        self.connections_open.add(1);
        Present(self)
    }

    pub(super) fn snapshot(&self) -> Counters {
        Counters {
            connections: self.connections.value(),
            connections_open: self.connections_open.value(),
            requests: self.requests.value(),
            errors: self.errors.value(),
            bytes_read: self.bytes_read.value(),
            bytes_written: self.bytes_written.value(),
        }
    }
}

struct Present<'a>(&'a LiveCounters);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.connections_open.subtract(1);
    }
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
