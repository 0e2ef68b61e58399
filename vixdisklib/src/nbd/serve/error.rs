//! Why a server could not start, or what went wrong at its end.

use std::io;
use std::path::{Path, PathBuf};

use crate::nbd::export::ExportError;

/// Why a server could not start, or what went wrong at its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no export, or no address to listen at and no connection to serve.
    #[error("a server needs an export and an address to listen at")]
    Nothing,
    /// A name or a description of an export cannot be sent to clients.
    #[error("the name or description of an export is longer than 4096 bytes or has a NUL in it")]
    BadText,
    /// Two exports have the same name.
    #[error("there are two exports with the name {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// The default export is none of the exports.
    #[error("the default export {name:?} is none of the exports")]
    NoSuchDefault {
        /// The name.
        name: String,
    },
    /// An export has 2^63 bytes or more.
    #[error("export {name:?} is too large for clients")]
    TooLarge {
        /// The name of the export.
        name: String,
    },
    /// Clients could not ask for a metadata context of an export: its name has no namespace, is too long, is there twice,
    /// or is one that the server answers itself.
    #[error("export {export:?}: metadata context {context:?} {reason}")]
    BadContext {
        /// The name of the export.
        export: String,
        /// The full name of the context, or its first 4096 bytes.
        context: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address or a socket path cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address, or the path of the socket.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// Another server listens at the socket.
    #[error("cannot listen at {}: another server does already", path.display())]
    SocketInUse {
        /// The path of the socket.
        path: PathBuf,
    },
    /// There is something at the path that is not a socket.
    #[error("cannot listen at {}: it exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A descriptor from outside is no stream socket that listens, or no connection.
    #[error("cannot use an inherited descriptor: {reason}")]
    Inherited {
        /// What is wrong with it.
        reason: &'static str,
        /// The cause, if the system gave one.
        source: Option<io::Error>,
    },
    /// The system has no thread or descriptor left.
    #[error("cannot start the server")]
    Resources(#[source] io::Error),
    /// An export could not be flushed when the server stopped or its last client left: late writes may be lost.
    #[error("flushing export {name:?} at the end failed")]
    Flush {
        /// The name of the export.
        name: String,
        /// The cause.
        source: ExportError,
    },
    /// The server, or an export that it flushed, panicked: late writes may be lost.
    #[error("the server ended by a panic")]
    Panicked,
}

impl ServerError {
    pub(super) fn listen(address: impl Into<String>, source: io::Error) -> Self {
        Self::Listen {
            address: address.into(),
            source,
        }
    }

    pub(super) fn listen_path(path: &Path, source: io::Error) -> Self {
        Self::listen(path.display().to_string(), source)
    }

    pub(super) fn inherited(reason: &'static str, source: impl Into<Option<io::Error>>) -> Self {
        Self::Inherited {
            reason,
            source: source.into(),
        }
    }
}
