//! Where fresh connections to a host come from.

use crate::error::Error;
use crate::stream::ByteStream;

/// A connection on which the host waits for the first message of the disk protocol.
#[derive(Debug)]
pub struct Dialed {
    /// Clear or encrypted, after the host has answered the command `PROXY`.
    pub stream: Box<dyn ByteStream>,
    /// What was said with `THUMBPRINT_SHA2`, at most 256 bytes; none if that command was not sent.
    pub tag: Option<Vec<u8>>,
    /// The host at the other end. Connections to the same host share a budget of memory.
    pub host: String,
}

/// Makes connections: takes a new ticket, presents it, and does both steps of TLS.
///
/// A disk dials when it is opened, and again when it has lost its connection. Dialing blocks; it may happen on any
/// thread.
pub trait Dial: Send + Sync {
    /// A fresh connection.
    ///
    /// # Errors
    /// Whatever stands in the way of a connection.
    fn dial(&self) -> Result<Dialed, Error>;
}

impl<F: Fn() -> Result<Dialed, Error> + Send + Sync> Dial for F {
    fn dial(&self) -> Result<Dialed, Error> {
        self()
    }
}
