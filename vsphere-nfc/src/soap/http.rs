//! HTTP/1.1 over TLS, as far as SOAP needs it: one request at a time on a connection that is kept.
//!
//! No redirects, no proxies, no compression, no cookies but the session's. Everything that a server sends has a limit.

mod body;
mod head;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::deadline::TimedStream;
use crate::error::{Cause, ErrorKind, connection_kind, dialing_kind};
use crate::secret::{Secret, WipedBytes};
use crate::tls::{self, TlsError};
use body::BodyError;
pub(crate) use head::cookie_header;
use head::{Framing, Head, HeadError};

/// The longest accepted head of an answer in bytes.
const MAX_HEAD: usize = 32 << 10;

/// The longest accepted body of an answer in bytes. The whole configuration of a virtual machine takes far less.
const MAX_BODY: usize = 16 << 20;

/// How many interim answers may come before the final one.
const MAX_INTERIM: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection.
    #[error("no connection can be made")]
    Connect(#[source] io::Error),
    /// No TLS session.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection broke, or was silent for too long.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// What came is no HTTP.
    #[error("the answer is no HTTP that this client understands: {0}")]
    Malformed(&'static str),
    /// The answer is longer than anything that this client asks for.
    #[error("the answer is too long")]
    TooLong,
}

impl HttpError {
    /// See [`crate::ErrorKind`].
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => dialing_kind(error),
            // Whatever speaks there, it is no vSphere.
            Self::Tls(TlsError::Protocol(_)) => ErrorKind::CannotConnect,
            Self::Tls(error) => error.kind(),
            Self::Io(error) => connection_kind(error),
            Self::Malformed(_) | Self::TooLong => ErrorKind::CannotConnect,
        }
    }
}

impl From<HeadError> for HttpError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(what) => Self::Malformed(what),
            HeadError::TooLong => Self::TooLong,
        }
    }
}

impl From<BodyError> for HttpError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Io(error) => Self::Io(error),
            BodyError::Malformed(what) => Self::Malformed(what),
            BodyError::TooLong => Self::TooLong,
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    Get {
        path: &'a str,
    },
    /// A SOAP call.
    Post {
        path: &'a str,
        action: &'a str,
        cookie: Option<&'a Secret>,
        body: &'a [u8],
    },
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `name=value` of the session's cookie, if the server set it.
    pub(crate) cookie: Option<Secret>,
    pub(crate) body: WipedBytes,
    /// Whether the connection takes another request.
    pub(crate) keeps: bool,
}

/// A connection to a server's management plane.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TimedStream>,
    host: String,
}

impl Connection {
    /// Connects and shakes hands; gives the server's certificate too.
    pub(crate) fn open(
        host: &str,
        port: u16,
        config: Arc<ClientConfig>,
        limit: Duration,
    ) -> Result<(Self, CertificateDer<'static>), HttpError> {
        let mut tcp = TimedStream::connect(host, port, limit).map_err(HttpError::Connect)?;
        let (session, certificate) = tls::handshake(config, host, &mut tcp)?;
        let connection = Self {
            stream: StreamOwned::new(session, tcp),
            host: authority(host, port),
        };
        Ok((connection, certificate))
    }

    /// Whether the server has closed the connection since the last answer.
    pub(crate) fn is_spent(&self) -> bool {
        self.stream.sock.is_spent()
    }

    /// Sends a request and waits for the answer to it; both take no longer than `limit`.
    pub(crate) fn exchange(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Response, HttpError> {
        self.stream.sock.allow(limit);
        let message = written(request, &self.host);
        self.stream
            .write_all(message.as_slice())
            .and_then(|()| self.stream.flush())
            .map_err(HttpError::Io)?;
        read_response(&mut self.stream)
    }
}

/// The name of the server in requests: IPv6 addresses in brackets, the port if it is not the usual one.
fn authority(host: &str, port: u16) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match port {
        443 => host,
        _ => format!("{host}:{port}"),
    }
}

fn written(request: Request<'_>, host: &str) -> WipedBytes {
    let mut message = WipedBytes::with_capacity(4096);
    match request {
        Request::Get { path } => {
            for piece in ["GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
                message.push(piece);
            }
            message.push("Accept: text/xml\r\n\r\n");
        }
        Request::Post {
            path,
            action,
            cookie,
            body,
        } => {
            for piece in ["POST ", path, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
                message.push(piece);
            }
            message.push("Content-Type: text/xml; charset=utf-8\r\nAccept: text/xml\r\n");
            for piece in ["SOAPAction: \"", action, "\"\r\n"] {
                message.push(piece);
            }
            if let Some(cookie) = cookie {
                for piece in ["Cookie: ", cookie.expose(), "\r\n"] {
                    message.push(piece);
                }
            }
            message.push(&format!("Content-Length: {}\r\n\r\n", body.len()));
            message.extend(body);
        }
    }
    message
}

/// Reads one answer. Bytes that came behind it make the connection unfit for another.
pub(crate) fn read_response(stream: &mut impl Read) -> Result<Response, HttpError> {
    let mut received = Received {
        stream,
        buffer: WipedBytes::default(),
        taken: 0,
    };
    for _ in 0..MAX_INTERIM {
        let head = received.head()?;
        if (100..200).contains(&head.status) {
            continue;
        }
        let (body, ended) = match head.framing {
            Framing::Length(length) => (body::of_length(&mut received, length, MAX_BODY)?, false),
            Framing::Chunked => (body::chunked(&mut received, MAX_BODY)?, false),
            Framing::UntilClosed => (body::until_closed(&mut received, MAX_BODY)?, true),
        };
        return Ok(Response {
            status: head.status,
            cookie: head.cookie,
            body,
            keeps: head.keeps && !ended && received.rest().is_empty(),
        });
    }
    Err(HttpError::Malformed("interim answers without end"))
}

/// A stream, and what was received of it beyond what was taken.
struct Received<'a, S> {
    stream: &'a mut S,
    buffer: WipedBytes,
    taken: usize,
}

impl<S: Read> Received<'_, S> {
    fn rest(&self) -> &[u8] {
        self.buffer.as_slice().get(self.taken..).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes).min(self.buffer.len());
    }

    /// Receives some more bytes behind the rest.
    fn receive(&mut self) -> io::Result<usize> {
        let mut piece = zeroize::Zeroizing::new([0; 8192]);
        let count = loop {
            match self.stream.read(&mut *piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        let mut rest = WipedBytes::with_capacity(self.rest().len().saturating_add(count));
        rest.extend(self.rest());
        rest.extend(piece.get(..count).unwrap_or_default());
        self.buffer = rest;
        self.taken = 0;
        Ok(count)
    }

    fn head(&mut self) -> Result<Head, HttpError> {
        loop {
            if let Some((head, length)) = head::parse(self.rest(), MAX_HEAD)? {
                self.take(length);
                return Ok(head);
            }
            if self.receive().map_err(HttpError::Io)? == 0 {
                return Err(HttpError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<S: Read> Read for Received<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest().is_empty() {
            return self.stream.read(buffer);
        }
        let count = self.rest().len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), self.rest().get(..count)) {
            to.copy_from_slice(from);
        }
        self.take(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
