//! What can go wrong with a data connection. One failure may end many requests, so it is cheap to copy.

use std::io;
use std::sync::Arc;

use crate::compress::CompressError;
use crate::error::{Cause, Error, ErrorKind, Operation, connection_kind};
use crate::wire::WireError;

/// The longest text of a host that is kept, in characters.
const LONGEST_TEXT: usize = 1024;

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing was sent.
    #[error("{why}")]
    Request { kind: ErrorKind, why: &'static str },
    /// The host refused one request. The connection goes on.
    #[error("{text} (NFC error {code})")]
    Refused {
        code: u32,
        text: Arc<str>,
        kind: ErrorKind,
    },
    /// The host refused to begin a session.
    #[error("the host does not begin a session: {0}")]
    Handshake(Arc<str>),
    /// The connection broke.
    #[error("the connection to the host failed")]
    Connection(#[source] Arc<io::Error>),
    /// The host announced that somebody else serves the disk from now on.
    #[error("another host serves the disk from now on (message {0})")]
    Moved(u32),
    /// The host sent what it must not send. The connection was given up.
    #[error("the host broke the protocol: {0}")]
    Protocol(Breach),
    /// There is no new connection.
    #[error(transparent)]
    Dial(Arc<Error>),
    /// After a lost connection the disk is not what it was.
    #[error("after reconnecting, the disk has another capacity")]
    Changed,
    /// Writes were lost.
    #[error("the connection was lost while the disk was being written; it has to be opened again")]
    WritesLost(#[source] Arc<Failure>),
    /// This side has closed the connection.
    #[error("the disk was closed")]
    Closed,
}

/// How a host broke the protocol.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Breach {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Compress(#[from] CompressError),
    #[error("{0}")]
    Other(&'static str),
    #[error("a message of the unknown kind {0}")]
    UnknownKind(u32),
}

impl Failure {
    /// What the host said when it refused. Few codes are known, so the text decides too.
    #[cold]
    pub(crate) fn refused(code: u32, text: &[u8]) -> Self {
        let text = printable(text);
        let kind = kind_of_refusal(code, &text);
        Self::Refused {
            code,
            text: text.into(),
            kind,
        }
    }

    /// A reply that says in its status what others say in a message of its own.
    #[cold]
    pub(crate) fn refused_by(status: u64) -> Self {
        let code = u32::try_from(status).unwrap_or(u32::MAX);
        Self::refused(code, format!("the host reports status {status}").as_bytes())
    }

    /// What it means when a disk is opened: a ticket for reading refuses to write.
    pub(crate) fn for_opening(mut self, writable: bool) -> Self {
        if let Self::Refused { kind, .. } = &mut self
            && *kind == ErrorKind::AccessRefused
            && writable
        {
            *kind = ErrorKind::ReadOnly;
        }
        self
    }

    #[cold]
    pub(crate) fn breach(what: &'static str) -> Self {
        Self::Protocol(Breach::Other(what))
    }

    #[cold]
    pub(crate) fn request(kind: ErrorKind, why: &'static str) -> Self {
        Self::Request { kind, why }
    }

    /// The error that callers see.
    #[cold]
    pub(crate) fn during(self, operation: Operation, object: impl Into<String>) -> Error {
        match self {
            // It says itself what was being done.
            Self::Dial(error) => Arc::try_unwrap(error)
                .unwrap_or_else(|error| Self::Dial(error).into())
                .during(operation, object),
            failure => Error::from(failure).during(operation, object),
        }
    }

    /// The host has no memory for a request of this size.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.kind() == ErrorKind::OutOfMemory
    }

    /// The same request may succeed over a new connection.
    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Moved(_))
            && matches!(self.kind(), ErrorKind::ConnectionLost | ErrorKind::TimedOut)
    }
}

impl From<io::Error> for Failure {
    #[cold]
    fn from(error: io::Error) -> Self {
        Self::Connection(Arc::new(error))
    }
}

impl From<WireError> for Failure {
    #[cold]
    fn from(error: WireError) -> Self {
        Self::Protocol(error.into())
    }
}

impl From<CompressError> for Failure {
    #[cold]
    fn from(error: CompressError) -> Self {
        Self::Protocol(error.into())
    }
}

impl Cause for Failure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request { kind, .. } | Self::Refused { kind, .. } => *kind,
            Self::Handshake(_) | Self::Protocol(_) => ErrorKind::Protocol,
            Self::Connection(error) => connection_kind(error),
            Self::Moved(_) | Self::WritesLost(_) => ErrorKind::ConnectionLost,
            Self::Dial(error) => error.kind(),
            Self::Changed => ErrorKind::Failed,
            Self::Closed => ErrorKind::InvalidArgument,
        }
    }

    fn fault(&self) -> Option<&str> {
        match self {
            Self::Dial(error) => error.fault(),
            _ => None,
        }
    }

    fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Dial(error) => error.code(),
            _ => None,
        }
    }

    fn server_text(&self) -> Option<&str> {
        match self {
            Self::Refused { text, .. } | Self::Handshake(text) => Some(text),
            Self::Dial(error) => error.server_text(),
            _ => None,
        }
    }
}

/// Texts observed on ESXi 7 and 8.
fn kind_of_refusal(code: u32, text: &str) -> ErrorKind {
    let text = text.to_ascii_lowercase();
    let says = |words: &str| text.contains(words);
    if says("disklib error 16392") || says("failed to lock") || says("multiwriter") {
        return ErrorKind::AlreadyLocked;
    }
    if says("not find") || says("no such file") {
        return ErrorKind::FileNotFound;
    }
    match code {
        5 => ErrorKind::OutOfMemory,
        11 => ErrorKind::AccessRefused,
        13 => ErrorKind::DiskFault,
        _ => ErrorKind::Failed,
    }
}

/// One line of limited length, whatever a host sent.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let visible = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let text: String = text
        .trim_end_matches('\0')
        .chars()
        .take(LONGEST_TEXT)
        .map(visible)
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_code_and_text() {
        let cases = [
            (
                5,
                "Failed to allocate the requested 1048600 bytes",
                ErrorKind::OutOfMemory,
            ),
            (
                11,
                "NfcAioProcessOpenFileMsg: permission check failed",
                ErrorKind::AccessRefused,
            ),
            (13, "", ErrorKind::DiskFault),
            (1, "DiskLib error 16392", ErrorKind::AlreadyLocked),
            (1, "Failed to lock the file", ErrorKind::AlreadyLocked),
            (
                1,
                "disks opened in multiwriter mode",
                ErrorKind::AlreadyLocked,
            ),
            (
                1,
                "Could not find the file specified",
                ErrorKind::FileNotFound,
            ),
            (1, "No such file or directory", ErrorKind::FileNotFound),
            (99, "who knows", ErrorKind::Failed),
        ];
        for (code, text, kind) in cases {
            let failure = Failure::refused(code, text.as_bytes());
            assert_eq!(failure.kind(), kind, "{code} {text}");
            assert_eq!(Error::from(failure).code(), Some(code));
        }
    }

    #[test]
    fn a_text_is_one_line_and_has_an_end() {
        assert_eq!(printable(b"two\r\nlines \xff\0\0"), "two  lines \u{fffd}");
        assert_eq!(printable(&[b'x'; 100_000]).len(), LONGEST_TEXT);
    }

    #[test]
    fn only_a_lost_connection_is_worth_another_try() {
        let lost = |kind: io::ErrorKind| Failure::from(io::Error::from(kind)).is_lost_connection();
        assert!(lost(io::ErrorKind::UnexpectedEof) && lost(io::ErrorKind::TimedOut));
        assert!(Failure::Moved(14).is_lost_connection());
        // Encryption that broke.
        assert!(!lost(io::ErrorKind::InvalidData));
        assert!(!Failure::breach("x").is_lost_connection());
        assert!(!Failure::refused(5, b"").is_lost_connection());
        assert!(!Failure::WritesLost(Arc::new(Failure::Moved(14))).is_lost_connection());
    }
}
