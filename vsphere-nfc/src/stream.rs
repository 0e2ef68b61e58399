//! A connection as the disk protocol needs it: one thread reads it while others write.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes in both directions. All calls take `&self`: one thread may read while another writes.
pub trait ByteStream: fmt::Debug + Send + Sync {
    /// Receives some bytes into `buf`; 0 at the end.
    ///
    /// # Errors
    /// Of kind `WouldBlock` or `TimedOut` when nothing came in time; reading may be tried again then.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Sends some of `slices`. Encrypted streams put what one call sends into records of its own.
    ///
    /// # Errors
    /// Of kind `WouldBlock` or `TimedOut` when the host took nothing in time.
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// How long one call waits, not 0; none for any length of time.
    ///
    /// # Errors
    /// Those of the socket.
    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()>;

    /// Tells the host that nothing more is sent. Waits for no answer.
    ///
    /// # Errors
    /// Those of the socket.
    fn say_goodbye(&self) -> io::Result<()> {
        Ok(())
    }

    /// Ends both directions at once. Threads that are reading or writing return.
    fn shut_down(&self);
}

impl ByteStream for TcpStream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &*self, slices)
    }

    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(read)?;
        self.set_write_timeout(write)
    }

    fn shut_down(&self) {
        // It fails only where the other side was faster.
        let _ = self.shutdown(Shutdown::Both);
    }
}

#[cfg(unix)]
impl ByteStream for std::os::unix::net::UnixStream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &*self, slices)
    }

    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(read)?;
        self.set_write_timeout(write)
    }

    fn shut_down(&self) {
        // It fails only where the other side was faster.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl<S: ByteStream + ?Sized> ByteStream for Box<S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read(buf)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).write_vectored(slices)
    }

    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        (**self).set_timeouts(read, write)
    }

    fn say_goodbye(&self) -> io::Result<()> {
        (**self).say_goodbye()
    }

    fn shut_down(&self) {
        (**self).shut_down();
    }
}

/// Whether a call ended because its time was over.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Receives exactly as much as `buf` takes.
pub(crate) fn read_exact(
    stream: &(impl ByteStream + ?Sized),
    mut buf: &mut [u8],
) -> io::Result<()> {
    while !buf.is_empty() {
        match stream.read(buf) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buf = buf.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends all of `slices`, and if it can in one call.
pub(crate) fn write_all(
    stream: &(impl ByteStream + ?Sized),
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
