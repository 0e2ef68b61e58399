//! What a server serves: bytes that can be read, written and asked about.

use std::fmt;
use std::ops::ControlFlow;

use disk_units::ByteLen;

use crate::FileRange;

/// A disk as NBD sees it: a run of bytes that several threads use at once.
///
/// The server checks every request before it calls: ranges lie inside [`size`](Export::size) and are not empty,
/// and nothing that changes the contents is called when [`is_read_only`](Export::is_read_only) says so.
/// Positions and lengths are in bytes and need no alignment.
///
/// Calls come from several threads at the same time, for one client and for many. All clients share the one
/// export, so what one has written and got answered is seen, and flushed, by all: that is what the server's
/// promise of safe parallel connections rests on.
///
/// # Examples
///
/// A disk in memory:
///
/// ```
/// use std::sync::Mutex;
/// use vixdisklib::ByteLen;
/// use vixdisklib::nbd::{Export, ExportError, ZeroRequest};
///
/// struct Ram(Mutex<Vec<u8>>);
///
/// fn index(position: ByteLen) -> usize {
///     usize::try_from(position.get()).expect("inside the disk, which is in memory")
/// }
///
/// impl Export for Ram {
///     fn size(&self) -> ByteLen {
///         ByteLen::new(self.0.lock().unwrap().len() as u64)
///     }
///     fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
///         buf.copy_from_slice(&self.0.lock().unwrap()[index(offset)..][..buf.len()]);
///         Ok(())
///     }
///     fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
///         self.0.lock().unwrap()[index(offset)..][..buf.len()].copy_from_slice(buf);
///         Ok(())
///     }
///     fn write_zeroes(&self, offset: ByteLen, length: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
///         self.0.lock().unwrap()[index(offset)..][..index(length)].fill(0);
///         Ok(())
///     }
///     fn flush(&self) -> Result<(), ExportError> {
///         Ok(())
///     }
/// }
/// ```
pub trait Export: Send + Sync {
    /// The size in bytes, at most 2^63 − 1. It never changes.
    fn size(&self) -> ByteLen;

    /// Whether clients are refused every change. False unless overridden; it never changes.
    fn is_read_only(&self) -> bool {
        false
    }

    /// The request size in bytes that suits the medium, told to clients who ask. 4096 unless overridden; the
    /// server rounds it up to a power of two and keeps it between 512 and its largest payload.
    fn preferred_block(&self) -> ByteLen {
        ByteLen::new(4096)
    }

    /// Whether [`trim`](Export::trim) does anything. False unless overridden; it never changes.
    fn can_trim(&self) -> bool {
        false
    }

    /// Fills `buf` with the bytes from `offset`.
    ///
    /// # Errors
    /// Any error; the client gets nothing of `buf` then.
    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError>;

    /// Where the bytes at the front of `length` bytes from `offset` lie in a file as they are, for a server that sends them
    /// without reading them. `None`, as unless overridden, where they have to be [read](Export::read_at).
    ///
    /// Asked only if [`is_read_only`](Export::is_read_only) says so: what is in the file must not change while it is on
    /// its way to the client.
    fn file_range(&self, offset: ByteLen, length: ByteLen) -> Option<FileRange> {
        let _ = (offset, length);
        None
    }

    /// Writes `buf` at `offset`. Durable only after the next [`flush`](Export::flush).
    ///
    /// # Errors
    /// Any error; how much was written is undefined then.
    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError>;

    /// Makes `length` bytes from `offset` read as zero.
    ///
    /// # Errors
    /// [`ErrorNumber::NotSupported`] if `request.fast_only` is set and zeroing would not be faster than writing:
    /// at once, with nothing changed. Any other error leaves the contents of the range undefined.
    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError>;

    /// Tells that the client needs `length` bytes from `offset` no more. Called only if
    /// [`can_trim`](Export::can_trim) says so. What the range reads as afterwards is the export's choice, but it
    /// must stay the same until the next write.
    ///
    /// # Errors
    /// Any error.
    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        let _ = (offset, length);
        Ok(())
    }

    /// Makes every change durable whose call has returned, whoever made it.
    ///
    /// # Errors
    /// Any error; nothing is known to be durable then.
    fn flush(&self) -> Result<(), ExportError>;

    /// The same for `length` bytes from `offset` alone, which a client wants durable before it hears of them (`FUA`).
    /// Unless overridden, everything is flushed.
    ///
    /// # Errors
    /// Any error; nothing is known to be durable then.
    fn flush_range(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        let _ = (offset, length);
        self.flush()
    }

    /// Tells `visit` the state of `length` bytes from `offset`, in order and without gaps, until the range is
    /// used up or `visit` breaks. Pieces may be of any length but zero; the last may run past the range.
    /// Neighbours with the same state need not be merged. Unless overridden, all is [`Data`](BlockState::Data).
    ///
    /// # Errors
    /// Any error; the client then gets an error only if nothing was visited yet. An export that cannot tell
    /// should rather visit the rest as data, because clients give up a whole copy over a failed query.
    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        let _ = offset;
        let _ = visit(length, BlockState::Data);
        Ok(())
    }

    /// Called after a question about the state of some bytes was answered, when the thread has nothing else to do: clients go
    /// on asking behind what they were told, probably about these `length` bytes, which lie inside the export. What that
    /// takes may be done now. Nothing unless overridden.
    fn expect_block_status(&self, offset: ByteLen, length: ByteLen) {
        let _ = (offset, length);
    }

    /// Whether [`block_status`](Export::block_status) is answered from memory. Then the server asks before it reads,
    /// and tells clients of ranges that read as zeros instead of sending zeros. False unless overridden; it never
    /// changes.
    fn knows_zeroes(&self) -> bool {
        false
    }

    /// The full names of metadata contexts that clients may ask about, besides `base:allocation`, which every export
    /// has; none unless overridden. A name is a namespace, a colon and the rest, at most 4096 bytes. Namespaces of one's
    /// own begin with `x-`; those of others, such as `qemu:`, are for what their owners say; `base:` is the server's. The
    /// names differ, never change, and there are at most 1024; a server refuses others.
    fn contexts(&self) -> &[String] {
        &[]
    }

    /// The same as [`block_status`](Export::block_status) for the context at `index` of
    /// [`contexts`](Export::contexts), whose flags mean what the context says. Neighbours with equal flags need not be
    /// merged. Unless overridden, all flags are 0.
    ///
    /// # Errors
    /// Any error; the client then gets an error only if nothing was visited yet.
    fn context_status(
        &self,
        index: usize,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut ContextVisitor<'_>,
    ) -> Result<(), ExportError> {
        let _ = (index, offset);
        let _ = visit(length, 0);
        Ok(())
    }
}

/// Receives the length in bytes and the state of one piece after the other, and may break off.
pub type BlockVisitor<'a> = dyn FnMut(ByteLen, BlockState) -> ControlFlow<()> + 'a;

/// Receives the length in bytes and the flags of one piece after the other, and may break off.
pub type ContextVisitor<'a> = dyn FnMut(ByteLen, u32) -> ControlFlow<()> + 'a;

/// What is known about a piece of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// It may hold anything. Always a safe answer.
    Data,
    /// It reads as zeroes but has space of its own.
    Zero,
    /// It reads as zeroes and takes no space.
    Hole,
}

/// How zeroes are to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZeroRequest {
    /// The space may be given back. Otherwise later writes to the range must find their space allocated.
    pub may_free: bool,
    /// Fail at once, with nothing changed, if this is not faster than writing zeroes.
    pub fast_only: bool,
}

/// Why an export could not do what a client asked for: a number for programs and a text for people.
///
/// The text goes over the network as it is: it must name no secret and no path of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportError {
    number: ErrorNumber,
    message: String,
}

impl ExportError {
    /// Makes an error. Clients see at most the first 4096 bytes of `message`.
    pub fn new(number: ErrorNumber, message: impl Into<String>) -> Self {
        Self {
            number,
            message: message.into(),
        }
    }

    /// The number that goes to the client.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        self.number
    }

    /// The text that goes to the client, if it can take text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ExportError {}

/// The error numbers that exist on the wire. Their values are those of Linux, on every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorNumber {
    /// `EPERM`: the export is read-only.
    Permission = 1,
    /// `EIO`: whatever has no number of its own.
    Io = 5,
    /// `ENOMEM`
    OutOfMemory = 12,
    /// `EINVAL`: the request makes no sense.
    Invalid = 22,
    /// `ENOSPC`: no room, or a write past the end.
    NoSpace = 28,
    /// `EOVERFLOW`: the request is too long. For the server itself; from an export it becomes `EIO`.
    Overflow = 75,
    /// `ENOTSUP`: zeroing would not be fast. From any other call it becomes `EIO`.
    NotSupported = 95,
    /// `ESHUTDOWN`: the server is stopping. For the server itself; from an export it becomes `EIO`.
    Shutdown = 108,
}

impl ErrorNumber {
    /// The number itself.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}
