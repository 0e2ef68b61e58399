//! The header: which message, how long, which operation.

use crate::wire::WireError;
use crate::wire::error::bounded;
use crate::wire::fields::{Builder, Fields};

/// The first four bytes of every header, as a number.
pub const MAGIC: u32 = 0xA100_DA7A;

/// The length of a header in bytes.
pub const HEADER: usize = 16;

/// The longest accepted payload in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 1: the host refuses an operation.
    Error,
    /// 2: begins a session.
    OpenSession,
    /// 3: ends it.
    CloseSession,
    /// 4: opens a disk.
    OpenFile,
    /// 5: closes it.
    CloseFile,
    /// 7: reads or writes.
    Io,
    /// 9: sets the buffers of the socket.
    SetSocketOptions,
    /// 10: asks about a file. Its layout is not known.
    GetFileInfo,
    /// 11: asks for an entry of the disk database.
    DdbGet,
    /// 13: asks which parts hold data.
    QueryBlocks,
    /// 22: chooses whose memory is used.
    SetResourcePool,
    /// A message that is not known.
    Other(u32),
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Error,
            2 => Self::OpenSession,
            3 => Self::CloseSession,
            4 => Self::OpenFile,
            5 => Self::CloseFile,
            7 => Self::Io,
            9 => Self::SetSocketOptions,
            10 => Self::GetFileInfo,
            11 => Self::DdbGet,
            13 => Self::QueryBlocks,
            22 => Self::SetResourcePool,
            other => Self::Other(other),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Error => 1,
            Self::OpenSession => 2,
            Self::CloseSession => 3,
            Self::OpenFile => 4,
            Self::CloseFile => 5,
            Self::Io => 7,
            Self::SetSocketOptions => 9,
            Self::GetFileInfo => 10,
            Self::DdbGet => 11,
            Self::QueryBlocks => 13,
            Self::SetResourcePool => 22,
            Self::Other(number) => number,
        }
    }
}

/// What stands before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is about.
    pub kind: Kind,
    /// Length of the payload in bytes, without what follows it.
    pub size: u32,
    /// The operation that the message belongs to.
    pub operation: u32,
}

impl Header {
    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Builder::default()
            .u32(MAGIC)
            .u32(self.kind.number())
            .u32(self.size)
            .u32(self.operation)
            .finish()
    }

    /// Takes a header apart.
    ///
    /// # Errors
    /// [`WireError::Magic`] when it is none, [`WireError::TooLong`] when the payload is beyond [`MAX_PAYLOAD`].
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, WireError> {
        let mut fields = Fields::new("a header", bytes);
        let magic = fields.u32()?;
        if magic != MAGIC {
            return Err(WireError::Magic(magic));
        }
        Ok(Self {
            kind: Kind::from_number(fields.u32()?),
            size: bounded("a payload", fields.u32()?, MAX_PAYLOAD)?,
            operation: fields.u32()?,
        })
    }
}
