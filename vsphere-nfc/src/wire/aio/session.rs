//! What begins and ends a session.

use crate::wire::WireError;
use crate::wire::fields::{Builder, Fields};

/// Begins a session, and says in which pieces data comes.
///
/// A host answers with 16 zero bytes. Sizes up to 2 MiB were seen to be accepted by ESXi 8, 16 MiB to be refused; zeroes
/// stand for 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The most data in one message, in bytes.
    pub buffer_size: u32,
    /// How many such buffers the host keeps. It does not limit how many operations are in flight.
    pub buffer_count: u32,
}

impl OpenSession {
    pub(super) const MESSAGE: &'static str = "OPEN_SESSION";

    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u32(0)
            .u32(self.buffer_size)
            .u32(self.buffer_count)
            .u32(0)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new(Self::MESSAGE, payload);
        fields.skip(4)?;
        let message = Self {
            buffer_size: fields.u32()?,
            buffer_count: fields.u32()?,
        };
        fields.skip(4)?;
        fields.end()?;
        Ok(message)
    }
}

/// The buffers of the host's socket: zeroes from a client that has no wish, and what they are from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes that wait to be sent.
    pub send: u32,
    /// Bytes that wait to be received.
    pub receive: u32,
    /// 1 in replies; its meaning is unknown.
    pub flag: u32,
}

impl SocketOptions {
    /// What ESXi 8 answers.
    pub const OF_ESXI: Self = Self {
        send: 1_675_000,
        receive: 1_675_000,
        flag: 1,
    };

    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u32(self.send)
            .u32(self.receive)
            .u32(self.flag)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("SET_SOCK_OPTS", payload);
        let message = Self {
            send: fields.u32()?,
            receive: fields.u32()?,
            flag: fields.u32()?,
        };
        fields.end()?;
        Ok(message)
    }
}

/// Ends a session. Of two clients that work with ESXi one sends 4 zero bytes and the other 16; the host answers with as
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseSession {
    /// 4 bytes.
    Short,
    /// 16 bytes.
    Long,
}

impl CloseSession {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Short => vec![0; 4],
            Self::Long => vec![0; 16],
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        match payload.len() {
            4 => Ok(Self::Short),
            16 => Ok(Self::Long),
            actual => Err(WireError::Length {
                message: "CLOSE_SESSION",
                actual,
            }),
        }
    }
}
