//! TCP connections that cannot hold a caller up for longer than agreed.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A TCP connection whose reads and writes fail with [`io::ErrorKind::TimedOut`] after a common point in time.
///
/// A time-out for each read alone would let a server that sends one byte now and then hold its client for ever.
#[derive(Debug)]
pub(crate) struct TimedStream {
    tcp: TcpStream,
    deadline: Instant,
}

impl TimedStream {
    /// Connects to the first address of the host that answers; all of them together take no longer than `limit`.
    pub(crate) fn connect(host: &str, port: u16, limit: Duration) -> io::Result<Self> {
        let deadline = after(limit);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        let addresses = (host, port)
            .to_socket_addrs()
            .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        for address in addresses {
            match TcpStream::connect_timeout(&address, remaining(deadline)?) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(Self { tcp, deadline });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Lets all further reads and writes together take no longer than `limit`.
    pub(crate) fn allow(&mut self, limit: Duration) {
        self.deadline = after(limit);
    }

    /// Whether the server has closed the connection, or sent what nobody asked for.
    pub(crate) fn is_spent(&self) -> bool {
        let idle = self.tcp.set_nonblocking(true).is_ok()
            && matches!(self.tcp.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let restored = self.tcp.set_nonblocking(false).is_ok();
        !(idle && restored)
    }

    /// The connection without time limits.
    pub(crate) fn into_tcp(self) -> io::Result<TcpStream> {
        self.tcp.set_read_timeout(None)?;
        self.tcp.set_write_timeout(None)?;
        Ok(self.tcp)
    }
}

/// A point in time that far away; times too far to be told are an hour away, which no caller waits for.
fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit)
        .or_else(|| now.checked_add(Duration::from_secs(3600)))
        .unwrap_or(now)
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A time-out of zero would mean none.
    if left < Duration::from_micros(1) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Linux reports a time-out of a socket as if it were non-blocking.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(remaining(self.deadline)?))?;
        self.tcp.read(buffer).map_err(timed_out)
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp
            .set_write_timeout(Some(remaining(self.deadline)?))?;
        self.tcp.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
