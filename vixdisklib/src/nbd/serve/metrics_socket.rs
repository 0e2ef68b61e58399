//! A socket that answers every client with the numbers of the server.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::ServerError;
use super::unix_socket::UnixSocket;

/// Clients that are answered at the same time; more are turned away.
const MOST: usize = 8;

/// How long to wait for a client to say that it speaks HTTP.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct MetricsSocket {
    socket: UnixSocket,
    busy: Arc<AtomicUsize>,
}

impl MetricsSocket {
    pub(super) fn bind(path: &Path) -> Result<Self, ServerError> {
        Ok(Self {
            socket: UnixSocket::bind(path)?,
            busy: Arc::default(),
        })
    }

    /// Answers the client that waits, if there is one, with what `text` gives, from a thread of its own.
    pub(super) fn answer_next(&self, text: impl FnOnce() -> String) -> io::Result<()> {
        let client = match self.socket.listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = Place::take(&self.busy);
        if place.number >= MOST {
            return Ok(());
        }
        let text = text();
        Builder::new()
            .name("nbd-metrics".to_owned())
            .spawn(move || {
                if let Err(error) = answer(&client, &text) {
                    tracing::debug!(%error, "telling metrics");
                }
                drop(place);
            })?;
        Ok(())
    }
}

impl AsFd for MetricsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.listener.as_fd()
    }
}

/// One of the clients that are being answered.
struct Place {
    busy: Arc<AtomicUsize>,
    /// How many there were before.
    number: usize,
}

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Self {
        Self {
            number: busy.fetch_add(1, Ordering::Relaxed),
            busy: Arc::clone(busy),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives HTTP to those who ask in it, and the bare text to all others.
fn answer(mut client: &UnixStream, text: &str) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_write_timeout(Some(LIMIT))?;
    let asked = read_request(client)?;
    if asked.starts_with(b"GET ") || asked.starts_with(b"HEAD ") {
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Connection: close\r\n\r\n",
            text.len()
        );
        client.write_all(head.as_bytes())?;
    }
    if !asked.starts_with(b"HEAD ") {
        client.write_all(text.as_bytes())?;
    }
    client.shutdown(std::net::Shutdown::Write)
}

/// What the client says before it waits for an answer: the head of an HTTP request, or nothing.
fn read_request(mut client: &UnixStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut asked = Vec::new();
    let mut buf = [0; 1024];
    // The rest of a longer one is of no interest, but must be read, or closing would lose the answer.
    while asked.len() < 16 << 10 && !asked.ends_with(b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut buf) {
            Ok(0) => break,
            Ok(read) => asked.extend_from_slice(&buf[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(ask: &str, end: bool) -> String {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(ask.as_bytes()).unwrap();
        if end {
            ours.shutdown(std::net::Shutdown::Write).unwrap();
        }
        answer(&theirs, "nbd_x 1\n").unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn speaks_http_to_those_who_do() {
        assert_eq!(exchange("", false), "nbd_x 1\n");
        assert_eq!(exchange("", true), "nbd_x 1\n");
        assert_eq!(exchange("hello", true), "nbd_x 1\n");
        let got = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", false);
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        assert!(got.contains("\r\nContent-Length: 8\r\n"), "{got}");
        assert!(got.ends_with("\r\n\r\nnbd_x 1\n"), "{got}");
        let head = exchange("HEAD / HTTP/1.0\r\n\r\n", false);
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
}
