//! How long a host is waited for.

use std::time::Duration;

/// How long a host is waited for.
///
/// A connection without requests may be silent for any length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a connection to be made: 30 s.
    pub connect: Duration,
    /// For each answer of the management plane, from the sending of the request to its last byte: 3 min.
    pub request: Duration,
    /// For each reply before the disk protocol begins: 3 min.
    pub accept: Duration,
    /// For the next bytes of any reply while requests are in flight: 60 s.
    pub read: Duration,
    /// For the host to take the next bytes of a request: 10 min, as it may first have to allocate what is written.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            request: Duration::from_secs(3 * 60),
            accept: Duration::from_secs(3 * 60),
            read: Duration::from_secs(60),
            write: Duration::from_secs(10 * 60),
        }
    }
}
