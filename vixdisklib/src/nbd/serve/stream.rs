//! One connection as the byte stream of a session, encrypted or not.

use std::fs::File;
use std::io::{self, IoSlice};
#[cfg(feature = "nbd-tls")]
use std::sync::OnceLock;
use std::time::Instant;

use super::channel::Channel;
#[cfg(feature = "nbd-tls")]
use super::tls::{Tls, TlsChannel};
use crate::nbd::session::ByteStream;
#[cfg(feature = "nbd-tls")]
use crate::nbd::session::TlsMode;

#[derive(Debug)]
pub(super) struct Stream {
    channel: Channel,
    #[cfg(feature = "nbd-tls")]
    tls: Option<Tls>,
    /// Once the client has asked for it.
    #[cfg(feature = "nbd-tls")]
    encrypted: OnceLock<TlsChannel>,
}

impl Stream {
    pub(super) fn new(channel: Channel, #[cfg(feature = "nbd-tls")] tls: Option<Tls>) -> Self {
        Self {
            channel,
            #[cfg(feature = "nbd-tls")]
            tls,
            #[cfg(feature = "nbd-tls")]
            encrypted: OnceLock::new(),
        }
    }

    /// Ends receiving: what has arrived can still be read, then the stream is at its end.
    pub(super) fn stop_receiving(&self) {
        self.channel.stop_receiving();
    }

    /// Ends both directions.
    pub(super) fn cut(&self) {
        self.channel.cut();
    }

    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "nbd-tls")]
        return self.encrypted.get().is_some();
        #[cfg(not(feature = "nbd-tls"))]
        false
    }

    /// Tells the client that nothing more comes, if there is a way to.
    pub(super) fn say_goodbye(&self) {
        #[cfg(feature = "nbd-tls")]
        if let Some(encrypted) = self.encrypted.get()
            && let Err(error) = encrypted.say_goodbye(&self.channel)
        {
            // Many clients have left by now.
            tracing::trace!(%error, "farewell");
        }
    }
}

impl ByteStream for Stream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "nbd-tls")]
        if let Some(encrypted) = self.encrypted.get() {
            return encrypted.read(&self.channel, buf);
        }
        self.channel.read(buf)
    }

    fn read_until(&self, buf: &mut [u8], deadline: Instant) -> io::Result<usize> {
        #[cfg(feature = "nbd-tls")]
        if let Some(encrypted) = self.encrypted.get() {
            return encrypted.read(&Until(&self.channel, deadline), buf);
        }
        self.channel.read_until(buf, deadline)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "nbd-tls")]
        if let Some(encrypted) = self.encrypted.get() {
            return encrypted.write_vectored(&self.channel, slices);
        }
        self.channel.write_vectored(slices)
    }

    /// Only in plain text: what is encrypted is sent whole, however long the client takes.
    fn tells_stalls(&self) -> bool {
        !self.is_encrypted() && self.channel.tells_stalls()
    }

    fn sends_files(&self) -> bool {
        !self.is_encrypted() && self.channel.sends_files()
    }

    fn send_file(&self, file: &File, position: u64, length: usize) -> io::Result<usize> {
        self.channel.send_file(file, position, length)
    }

    fn close(&self) {
        self.channel.cut();
    }

    #[cfg(feature = "nbd-tls")]
    fn tls(&self) -> TlsMode {
        match &self.tls {
            None => TlsMode::Off,
            Some(tls) if tls.required => TlsMode::Required,
            Some(_) => TlsMode::Offered,
        }
    }

    #[cfg(feature = "nbd-tls")]
    fn start_tls(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let encrypted = TlsChannel::accept(&tls.config, &self.channel)?;
        self.encrypted
            .set(encrypted)
            .map_err(|_| io::ErrorKind::AlreadyExists.into())
    }
}

/// A channel that is read until then.
#[cfg(feature = "nbd-tls")]
struct Until<'a>(&'a Channel, Instant);

#[cfg(feature = "nbd-tls")]
impl ByteStream for Until<'_> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_until(buf, self.1)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn close(&self) {
        self.0.cut();
    }
}
