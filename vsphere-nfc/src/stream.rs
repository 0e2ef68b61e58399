//! A connection as the disk protocol needs it: one thread reads it while others write.

use std::fmt;
use std::io::{self, IoSlice, Read};
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
        send(self, slices)
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
        send(self, slices)
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

/// Sends some of `slices` over a socket. A host that has hung up is an error and no signal: `SIGPIPE` ends programs that
/// are not written in Rust, in which this may be a library.
#[cfg(target_os = "linux")]
fn send(socket: impl std::os::fd::AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    let mut nothing_else = SendAncillaryBuffer::default();
    Ok(sendmsg(
        socket,
        slices,
        &mut nothing_else,
        SendFlags::NOSIGNAL,
    )?)
}

#[cfg(not(target_os = "linux"))]
fn send(mut socket: impl io::Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.write_vectored(slices)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn tcp() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let ours = TcpStream::connect(listener.local_addr()?)?;
        Ok((ours, listener.accept()?.0))
    }

    #[test]
    fn a_host_that_hung_up_raises_no_signal() {
        let raised = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::clone(&raised)).unwrap();
        let (tcp, _host) = tcp().unwrap();
        let (unix, _other_host) = UnixStream::pair().unwrap();
        for stream in [Box::new(tcp) as Box<dyn ByteStream>, Box::new(unix)] {
            stream.shut_down();
            let mut slices = [IoSlice::new(b"a"), IoSlice::new(b"b")];
            let error = write_all(&stream, &mut slices).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        assert!(!raised.load(Ordering::SeqCst));
    }

    #[test]
    fn several_slices_go_out_in_order() {
        let (ours, host) = tcp().unwrap();
        let mut slices = [
            IoSlice::new(b"one "),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        write_all(&ours, &mut slices).unwrap();
        let mut got = [0; 7];
        read_exact(&host, &mut got).unwrap();
        assert_eq!(&got, b"one two");
    }
}
