//! All messages together: what a client sends, and what a host sends.

use super::{
    Bitmap, CloseFile, CloseSession, DdbGet, DdbValue, ErrorReply, FileOpened, Header, Io, Kind,
    OpenFile, OpenSession, QueryBlocks, SocketOptions,
};
use crate::wire::WireError;
use crate::wire::fields::{Builder, Fields};

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Begins a session.
    OpenSession(OpenSession),
    /// Ends it.
    CloseSession(CloseSession),
    /// Opens a disk; its path follows.
    OpenFile(OpenFile),
    /// Closes it.
    CloseFile(CloseFile),
    /// Reads, or writes what follows.
    Io(Io),
    /// Sets the buffers of the host's socket.
    SetSocketOptions(SocketOptions),
    /// Asks for an entry of the disk database; its key follows.
    DdbGet(DdbGet),
    /// Asks which parts hold data.
    QueryBlocks(QueryBlocks),
    /// Chooses whose memory is used: 1.
    SetResourcePool(u32),
    /// A message of a kind that is not known. Its payload was left out, and so is what follows it.
    Other(Kind),
}

impl Request {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::OpenSession(_) => Kind::OpenSession,
            Self::CloseSession(_) => Kind::CloseSession,
            Self::OpenFile(_) => Kind::OpenFile,
            Self::CloseFile(_) => Kind::CloseFile,
            Self::Io(_) => Kind::Io,
            Self::SetSocketOptions(_) => Kind::SetSocketOptions,
            Self::DdbGet(_) => Kind::DdbGet,
            Self::QueryBlocks(_) => Kind::QueryBlocks,
            Self::SetResourcePool(_) => Kind::SetResourcePool,
            Self::Other(kind) => *kind,
        }
    }

    /// How many bytes follow. It is bounded in a message that was decoded.
    #[must_use]
    pub fn extra(&self) -> u32 {
        match self {
            Self::OpenFile(open) => open.path,
            Self::Io(io) => io.request_extra(),
            Self::DdbGet(get) => get.key,
            _ => 0,
        }
    }

    /// The header and the payload.
    #[must_use]
    pub fn encode(&self, operation: u32) -> Vec<u8> {
        let payload = match self {
            Self::OpenSession(open) => open.encode(),
            Self::CloseSession(close) => close.encode(),
            Self::OpenFile(open) => open.encode(),
            Self::CloseFile(close) => close.encode(),
            Self::Io(io) => io.encode(),
            Self::SetSocketOptions(options) => options.encode(),
            Self::DdbGet(get) => get.encode(),
            Self::QueryBlocks(query) => query.encode(),
            Self::SetResourcePool(pool) => Builder::default().u32(*pool).finish(),
            Self::Other(_) => Vec::new(),
        };
        with_header(self.kind(), operation, &payload)
    }

    /// Takes a payload apart.
    ///
    /// # Errors
    /// [`WireError`] when it has the wrong length, or announces more than is accepted to follow.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, WireError> {
        Ok(match kind {
            Kind::OpenSession => Self::OpenSession(OpenSession::decode(payload)?),
            Kind::CloseSession => Self::CloseSession(CloseSession::decode(payload)?),
            Kind::OpenFile => Self::OpenFile(OpenFile::decode(payload)?),
            Kind::CloseFile => Self::CloseFile(CloseFile::decode(payload)?),
            Kind::Io => Self::Io(Io::decode_request(payload)?),
            Kind::SetSocketOptions => Self::SetSocketOptions(SocketOptions::decode(payload)?),
            Kind::DdbGet => Self::DdbGet(DdbGet::decode(payload)?),
            Kind::QueryBlocks => Self::QueryBlocks(QueryBlocks::decode(payload)?),
            Kind::SetResourcePool => Self::SetResourcePool(one_number("SET_RES_POOL", payload)?),
            Kind::Error | Kind::GetFileInfo | Kind::Other(_) => Self::Other(kind),
        })
    }
}

/// What a host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The operation is refused; a text follows.
    Error(ErrorReply),
    /// The session began. It does not tell what was accepted.
    SessionOpened,
    /// The session ended.
    CloseSession(CloseSession),
    /// The disk is open.
    FileOpened(FileOpened),
    /// It was closed.
    CloseFile(CloseFile),
    /// A part of what was read follows, or everything was written.
    Io(Io),
    /// The buffers of the host's socket.
    SetSocketOptions(SocketOptions),
    /// A value follows.
    DdbValue(DdbValue),
    /// A bitmap follows.
    Blocks(Bitmap),
    /// The number that was sent.
    SetResourcePool(u32),
    /// A message of a kind that is not known. Its payload was left out, and so is what follows it.
    Other(Kind),
}

impl Reply {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Error(_) => Kind::Error,
            Self::SessionOpened => Kind::OpenSession,
            Self::CloseSession(_) => Kind::CloseSession,
            Self::FileOpened(_) => Kind::OpenFile,
            Self::CloseFile(_) => Kind::CloseFile,
            Self::Io(_) => Kind::Io,
            Self::SetSocketOptions(_) => Kind::SetSocketOptions,
            Self::DdbValue(_) => Kind::DdbGet,
            Self::Blocks(_) => Kind::QueryBlocks,
            Self::SetResourcePool(_) => Kind::SetResourcePool,
            Self::Other(kind) => *kind,
        }
    }

    /// How many bytes follow. It is bounded in a message that was decoded.
    #[must_use]
    pub fn extra(&self) -> u32 {
        match self {
            Self::Error(error) => error.text,
            Self::Io(io) => io.reply_extra(),
            Self::DdbValue(value) => value.value,
            Self::Blocks(bitmap) => bitmap.extra(),
            _ => 0,
        }
    }

    /// The header and the payload.
    #[must_use]
    pub fn encode(&self, operation: u32) -> Vec<u8> {
        let payload = match self {
            Self::Error(error) => error.encode(),
            Self::SessionOpened => vec![0; 16],
            Self::CloseSession(close) => close.encode(),
            Self::FileOpened(opened) => opened.encode(),
            Self::CloseFile(close) => close.encode(),
            Self::Io(io) => io.encode(),
            Self::SetSocketOptions(options) => options.encode(),
            Self::DdbValue(value) => value.encode(),
            Self::Blocks(bitmap) => bitmap.encode(),
            Self::SetResourcePool(pool) => Builder::default().u32(*pool).finish(),
            Self::Other(_) => Vec::new(),
        };
        with_header(self.kind(), operation, &payload)
    }

    /// Takes a payload apart.
    ///
    /// # Errors
    /// [`WireError`] when it has the wrong length, or announces more than is accepted to follow.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, WireError> {
        Ok(match kind {
            Kind::Error => Self::Error(ErrorReply::decode(payload)?),
            Kind::OpenSession => {
                OpenSession::decode(payload)?;
                Self::SessionOpened
            }
            Kind::CloseSession => Self::CloseSession(CloseSession::decode(payload)?),
            Kind::OpenFile => Self::FileOpened(FileOpened::decode(payload)?),
            Kind::CloseFile => Self::CloseFile(CloseFile::decode(payload)?),
            Kind::Io => Self::Io(Io::decode_reply(payload)?),
            Kind::SetSocketOptions => Self::SetSocketOptions(SocketOptions::decode(payload)?),
            Kind::DdbGet => Self::DdbValue(DdbValue::decode(payload)?),
            Kind::QueryBlocks => Self::Blocks(Bitmap::decode(payload)?),
            Kind::SetResourcePool => Self::SetResourcePool(one_number("SET_RES_POOL", payload)?),
            Kind::GetFileInfo | Kind::Other(_) => Self::Other(kind),
        })
    }
}

fn with_header(kind: Kind, operation: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        size: payload.len().try_into().unwrap_or(u32::MAX),
        operation,
    };
    let mut message = header.encode();
    message.extend(payload);
    message
}

fn one_number(message: &'static str, payload: &[u8]) -> Result<u32, WireError> {
    let mut fields = Fields::new(message, payload);
    let number = fields.u32()?;
    fields.end()?;
    Ok(number)
}
