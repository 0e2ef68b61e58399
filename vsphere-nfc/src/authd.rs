//! The way into a host: the lines of its authentication daemon, and the hand-over to the disk service.
//!
//! ```text
//!   greeting   in clear text
//!   TLS        the certificate is the one that the ticket names, or nothing is sent
//!   lines      SESSION, BANNER, THUMBPRINT_SHA2, PROXY
//!   hand-over  clear text, or a second TLS session with the same certificate, on the same TCP connection
//! ```
//!
//! The first TLS session is left without a farewell: the host takes the next byte as the disk protocol's. All this was
//! observed by public clients against ESXi 7 and 8.

use std::io::{self, Read, Write};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};
use zeroize::Zeroizing;

use crate::deadline::TimedStream;
use crate::dial::Dialed;
use crate::error::{Cause, Error, ErrorKind, Operation, connection_kind, dialing_kind};
use crate::stream::ByteStream;
use crate::ticket::Ticket;
use crate::timeouts::Timeouts;
use crate::tls::{self, Pin, Records, Thumbprint, TlsError, WrongCertificate};
use crate::tls_stream::TlsStream;
use crate::transport::Transport;
use crate::wire::WireError;
use crate::wire::authd::{Command, Greeting, Reply, take_line};

/// The word that VMware's own library always says where others make up a tag (observed by public clients).
const CONSTANT_TAG: &str = "PlainText";
/// Those that tags are made of.
const TAG_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const TAG_LENGTH: usize = 16;

/// What the disk protocol repeats, so that its stream belongs to this way in and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagKind {
    /// A new one each time.
    Random,
    /// A word that all clients of VMware's library say.
    Constant,
}

impl TagKind {
    fn tag(self) -> Result<String, AuthdError> {
        if self == Self::Constant {
            return Ok(CONSTANT_TAG.to_owned());
        }
        let mut random = [0; TAG_LENGTH];
        getrandom::fill(&mut random)?;
        let letters = random
            .iter()
            .filter_map(|byte| TAG_LETTERS.get(usize::from(byte & 63)));
        Ok(letters.copied().map(char::from).collect())
    }
}

/// Why a host does not let this client in.
#[derive(Debug, thiserror::Error)]
enum AuthdError {
    #[error("no connection can be made")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    #[error("the connection failed before the disk service answered")]
    Io(#[from] io::Error),
    #[error("the authentication daemon says what it must not say")]
    Wire(#[from] WireError),
    #[error("the host does not offer encrypted disk access, and none other was asked for")]
    NoNfcSsl,
    #[error("the host does not encrypt the presenting of tickets")]
    NoSsl,
    #[error("the host did not take the ticket: {} {}", .0.code, .0.text)]
    Ticket(Reply),
    #[error("the host has no place for another session: {} {}", .0.code, .0.text)]
    Full(Reply),
    #[error("the host refuses {command}: {} {}", .reply.code, .reply.text)]
    Refused { command: &'static str, reply: Reply },
    #[error("the host tells a digest of its certificate that is none")]
    NoDigest,
    #[error("the host spoke again before it was asked")]
    Surplus,
}

impl Cause for AuthdError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => dialing_kind(error),
            Self::Random(_) => ErrorKind::Failed,
            Self::Tls(error) => error.kind(),
            Self::Io(error) => connection_kind(error),
            Self::NoNfcSsl | Self::NoSsl => ErrorKind::Unsupported,
            Self::Ticket(_) => ErrorKind::TicketRejected,
            Self::Full(_) => ErrorKind::OutOfMemory,
            Self::Wire(_) | Self::Refused { .. } | Self::NoDigest | Self::Surplus => {
                ErrorKind::Protocol
            }
        }
    }

    fn server_text(&self) -> Option<&str> {
        match self {
            Self::Ticket(reply) | Self::Full(reply) | Self::Refused { reply, .. } => {
                Some(&reply.text)
            }
            _ => None,
        }
    }
}

/// Connects to the host of a ticket, presents the ticket, and gives the connection on which the host waits for the disk
/// protocol.
///
/// # Errors
/// [`ErrorKind::Certificate`] if the host is not the one that the ticket names; the ticket stays good then.
/// [`ErrorKind::TicketRejected`] if the host does not take the ticket, [`ErrorKind::Unsupported`] if it lacks the
/// transport, [`ErrorKind::OutOfMemory`] if it has too many sessions, [`ErrorKind::Protocol`] if it refuses anything else,
/// and the kinds of failed connections.
pub(crate) fn present(
    ticket: &Ticket,
    transport: Transport,
    tag: TagKind,
    timeouts: &Timeouts,
) -> Result<Dialed, Error> {
    let place = format!("{} (TCP {})", ticket.host, ticket.port);
    connect(ticket, transport, tag, timeouts)
        .map_err(|error| Error::from(error).during(Operation::Authorize, place))
}

fn connect(
    ticket: &Ticket,
    transport: Transport,
    kind: TagKind,
    timeouts: &Timeouts,
) -> Result<Dialed, AuthdError> {
    let mut tcp = TimedStream::connect(&ticket.host, ticket.port, timeouts.connect)
        .map_err(AuthdError::Connect)?;
    tcp.allow(timeouts.accept);
    let greeting = read_greeting(&mut tcp)?;
    if !greeting.requires_ssl() {
        return Err(AuthdError::NoSsl);
    }
    if transport == Transport::NbdSsl && !greeting.announces_nfc_ssl() {
        return Err(AuthdError::NoNfcSsl);
    }

    let mut records = Records::new(tcp);
    let pinned = tls::pinned(ticket.pin.clone())?;
    let (session, certificate) = tls::handshake(pinned, &ticket.host, &mut records)?;
    let mut lines = Lines {
        stream: StreamOwned::new(session, records),
        received: Vec::new(),
        timeouts,
    };

    lines.send(&[Command::Session(ticket.session.expose()), Command::Banner])?;
    let banner = lines.reply()?;
    if !banner.is_success() {
        return Err(AuthdError::Ticket(banner));
    }
    let tag = greeting
        .announces_sha256()
        .then(|| kind.tag())
        .transpose()?;
    if let Some(tag) = &tag {
        lines.send(&[Command::ThumbprintSha2(tag)])?;
        check_digest(&lines.success("THUMBPRINT_SHA2")?, &certificate)?;
    }
    if tag.is_none() && matches!(ticket.pin, Pin::Thumbprint(Thumbprint::Sha1(_))) {
        tracing::warn!(host = %ticket.host, "the host is known by a SHA-1 digest alone, as it tells no SHA-256 one");
    }
    lines.send(&[Command::Proxy(&transport.service(&ticket.service))])?;
    lines.success("PROXY")?;

    let tcp = lines.hand_over()?;
    Ok(Dialed {
        stream: encrypted(tcp, transport, certificate, ticket, timeouts)?,
        tag: tag.map(String::into_bytes),
        host: ticket.host.clone(),
    })
}

/// Receives the greeting byte by byte: TLS begins right behind it.
fn read_greeting(tcp: &mut TimedStream) -> Result<Greeting, AuthdError> {
    let mut received = Vec::new();
    loop {
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        received.extend(byte);
        if let Some((line, _)) = take_line(&received)? {
            return Ok(Greeting::decode(line)?);
        }
    }
}

/// The host says which certificate its disk service has: it must be the one that was shown.
fn check_digest(reply: &Reply, certificate: &CertificateDer<'_>) -> Result<(), AuthdError> {
    let expected = Thumbprint::sha256_of(certificate);
    let presented = reply.text.parse().map_err(|_| AuthdError::NoDigest)?;
    if expected == presented {
        return Ok(());
    }
    Err(TlsError::WrongCertificate(WrongCertificate {
        expected,
        presented,
    })
    .into())
}

/// Begins the second TLS session if there is to be one.
fn encrypted(
    mut tcp: TimedStream,
    transport: Transport,
    certificate: CertificateDer<'static>,
    ticket: &Ticket,
    timeouts: &Timeouts,
) -> Result<Box<dyn ByteStream>, AuthdError> {
    if transport == Transport::Nbd {
        return Ok(Box::new(tcp.into_tcp()?));
    }
    let config = tls::pinned(Pin::Certificate(certificate))?;
    tcp.allow(timeouts.accept);
    let (session, _) = tls::handshake(config, &ticket.host, &mut tcp)?;
    Ok(Box::new(TlsStream::new(tcp.into_tcp()?, session)))
}

/// The daemon's lines inside the first TLS session.
struct Lines<'a> {
    stream: StreamOwned<ClientConnection, Records<TimedStream>>,
    received: Vec<u8>,
    timeouts: &'a Timeouts,
}

impl Lines<'_> {
    fn send(&mut self, commands: &[Command<'_>]) -> io::Result<()> {
        let lines: Vec<_> = commands
            .iter()
            .map(|command| Zeroizing::new(command.encode()))
            .collect();
        self.stream.sock.get_mut().allow(self.timeouts.accept);
        for line in lines {
            self.stream.write_all(&line)?;
        }
        self.stream.flush()
    }

    fn reply(&mut self) -> Result<Reply, AuthdError> {
        loop {
            if let Some((line, length)) = take_line(&self.received)? {
                let reply = Reply::decode(line)?;
                self.received.drain(..length);
                return Ok(reply);
            }
            let mut piece = [0; 512];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => self
                    .received
                    .extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        }
    }

    /// A reply that has to be of success. A host that waits for a login is one that does not know the ticket.
    fn success(&mut self, command: &'static str) -> Result<Reply, AuthdError> {
        match self.reply()? {
            reply if reply.code == 200 => Ok(reply),
            reply if reply.code == 530 => Err(AuthdError::Ticket(reply)),
            // The words are expected, not seen: nobody has told those of a host that has too many.
            reply if reply.text.to_ascii_lowercase().contains("too many") => {
                Err(AuthdError::Full(reply))
            }
            reply => Err(AuthdError::Refused { command, reply }),
        }
    }

    /// The connection below, of which nothing was received beyond the last reply.
    fn hand_over(mut self) -> Result<TimedStream, AuthdError> {
        let state = self
            .stream
            .conn
            .process_new_packets()
            .map_err(TlsError::from)?;
        let clean = self.received.is_empty()
            && state.plaintext_bytes_to_read() == 0
            && self.stream.sock.is_between();
        if !clean {
            return Err(AuthdError::Surplus);
        }
        let (_, records) = self.stream.into_parts();
        Ok(records.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_new_each_time_unless_asked_otherwise() {
        let [first, second] = [TagKind::Random; 2].map(|kind| kind.tag().expect("random numbers"));
        assert_ne!(first, second);
        assert_eq!(first.len(), TAG_LENGTH);
        assert!(
            first.bytes().all(|letter| TAG_LETTERS.contains(&letter)),
            "{first}"
        );
        assert_eq!(TagKind::Constant.tag().expect("a word"), "PlainText");
    }
}
