//! One client from greeting to farewell, over any byte stream. No sockets, and clocks only to measure.

mod budget;
mod buffer;
mod context;
mod data;
mod execute;
mod handshake;
mod holes;
mod input;
mod options;
mod output;
mod pace;
mod patience;
mod quota;
mod receive;
mod request;
mod respond;
mod sent_file;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transmission;
mod zeroes;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::counters::LiveCounters;
use super::limits::Limits;
use super::table::{Entry, ExportTable};
use budget::Memory;
use input::Input;
use quota::Quota;
use sent_file::SentFiles;

/// The two directions of a connection, each used by one thread at a time.
pub(super) trait ByteStream: Sync {
    /// Reads what is there, at least one byte; 0 means that the client will send no more.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// As [`read`](Self::read), but fails with `TimedOut` if nothing comes until `deadline`.
    fn read_until(&self, buf: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let _ = deadline;
        self.read(buf)
    }

    /// Writes some of `slices`. A stream that [tells stalls](Self::tells_stalls) fails with `WouldBlock` when the
    /// client has taken nothing for a moment; whoever calls goes on then.
    fn write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Whether sending tells when the client takes nothing for a moment. It may change once, when encryption begins.
    fn tells_stalls(&self) -> bool {
        false
    }

    /// Whether [`send_file`](Self::send_file) is a good way to send. It may change once, when encryption begins.
    fn sends_files(&self) -> bool {
        false
    }

    /// Sends some of `length` bytes of `file` from `position`, which never pass through the memory of the program; 0 if the
    /// file ends there. Fails as [`write_vectored`](Self::write_vectored).
    fn send_file(&self, _file: &File, _position: u64, _length: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends both directions: what waits in the other calls returns.
    fn close(&self);

    /// Whether the client may or must encrypt the connection. It never changes.
    fn tls(&self) -> TlsMode {
        TlsMode::Off
    }

    /// Encrypts the connection: does the server's part of a TLS handshake, after which `read` and `write_vectored`
    /// carry what is inside. Called at most once, by the thread that negotiates, before any other thread uses the
    /// stream; everything that the client sent in plain text was read before, and the client waits for nothing but
    /// this. `close` may be called meanwhile.
    fn start_tls(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What a connection does about TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// It stays in plain text.
    #[default]
    Off,
    /// The client decides.
    Offered,
    /// Nothing but TLS can be negotiated in plain text.
    Required,
}

/// What all sessions of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) exports: ExportTable,
    pub(super) limits: Limits,
    pub(super) counters: LiveCounters,
    memory: Memory,
    /// Bytes that all connections may keep in unused buffers.
    idle: Arc<Quota>,
    /// Files that replies may be sent from.
    files: Arc<Quota>,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(exports: ExportTable, limits: Limits) -> Self {
        let limits = limits.within_protocol();
        Self {
            exports,
            memory: Memory::new(limits.memory, limits.connections),
            idle: Arc::new(Quota::new(limits.memory / 2)),
            files: SentFiles::common(),
            limits,
            counters: LiveCounters::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// What is counted for the server, and for the export.
    pub(super) fn counters_of<'a>(&'a self, export: &'a Entry) -> [&'a LiveCounters; 2] {
        [&self.counters, &export.counters]
    }

    /// From now on new requests are refused, and those that run are finished.
    pub(super) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Why a session ended other than by the client's wish.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the connection failed")]
    Io(#[source] io::Error),
    #[error("the client hung up in the middle of {0}")]
    Truncated(&'static str),
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the client asked for an export that does not exist in a way that allows no answer")]
    UnknownExport,
    #[error("the client sent more than {0} options")]
    ManyOptions(u32),
    #[error("the client announced {0} bytes of data")]
    TooLong(u64),
    #[error("the client sent plain text where TLS was to begin")]
    Injected,
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    #[error("the client asked for an export without TLS in a way that allows no answer")]
    TlsRequired,
    #[error("the client asked for an export of a stopping server in a way that allows no answer")]
    Stopping,
}

/// Serves one client until it leaves, misbehaves, or the server stops. `on_transmission` runs once, when the
/// client has chosen an export and does not know yet that it got it.
pub(super) fn run<S: ByteStream>(
    stream: &S,
    shared: &Shared,
    on_transmission: impl FnOnce(&str),
) -> Result<(), SessionError> {
    let mut input = Input::new(stream);
    let Some(negotiated) = handshake::negotiate(&mut input, stream, shared, on_transmission)?
    else {
        return Ok(());
    };
    let counters = &negotiated.export.counters;
    counters.connections.add(1);
    let _present = counters.one_more_open();
    transmission::run(input, stream, shared, &negotiated)
}
