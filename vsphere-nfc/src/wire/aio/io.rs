//! Reading and writing: one layout for requests and replies.

use crate::wire::WireError;
use crate::wire::error::bounded;
use crate::wire::fields::{Builder, Fields};

/// The most data that is accepted in one message, in bytes: the largest buffer that hosts accept.
pub const MAX_EXTRA: usize = 2 << 20;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// 1: from the disk.
    Read,
    /// 0: to the disk.
    Write,
}

/// One message about reading or writing: 44 bytes.
///
/// A read is one request, and as many replies as the host likes, each with a part of the data. A write is as many
/// requests as there are parts, and one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// The open disk in requests; 0 for success in replies.
    pub handle_or_status: u64,
    /// Which way data goes.
    pub direction: Direction,
    /// How data is compressed: as it is wanted in a request to read, as it is wherever data follows.
    pub compression: u32,
    /// Where on the disk the whole operation begins, in bytes.
    pub offset: u64,
    /// Length of the whole operation in bytes.
    pub total: u32,
    /// Where this part begins, in bytes from the begin of the operation.
    pub part: u32,
    /// Length of this part in bytes, not compressed.
    pub length: u32,
    /// Length of this part in bytes as it is sent.
    pub sent: u32,
}

impl Io {
    /// Asks for `length` bytes from `offset`, if possible compressed.
    #[must_use]
    pub fn read(handle: u64, compression: u32, offset: u64, length: u32) -> Self {
        Self {
            handle_or_status: handle,
            direction: Direction::Read,
            compression,
            offset,
            total: length,
            part: 0,
            length,
            sent: length,
        }
    }

    /// The reply to a write of `length` bytes.
    #[must_use]
    pub fn written(offset: u64, length: u32) -> Self {
        Self {
            handle_or_status: 0,
            direction: Direction::Write,
            compression: 0,
            offset,
            total: length,
            part: 0,
            length,
            sent: length,
        }
    }

    /// How many bytes follow this message as a request.
    #[must_use]
    pub fn request_extra(&self) -> u32 {
        match self.direction {
            Direction::Read => 0,
            Direction::Write => self.data(),
        }
    }

    /// How many bytes follow this message as a reply.
    #[must_use]
    pub fn reply_extra(&self) -> u32 {
        match self.direction {
            Direction::Read => self.data(),
            Direction::Write => 0,
        }
    }

    fn data(&self) -> u32 {
        if self.compression == 0 {
            self.length
        } else {
            self.sent
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u64(self.handle_or_status)
            .u32(match self.direction {
                Direction::Read => 1,
                Direction::Write => 0,
            })
            .u32(self.compression)
            .u64(self.offset)
            .u32(self.total)
            .u32(self.part)
            .u32(self.length)
            .u32(self.sent)
            .u32(0)
            .finish()
    }

    pub(super) fn decode_request(payload: &[u8]) -> Result<Self, WireError> {
        let message = Self::decode(payload)?;
        bounded("data", message.request_extra(), MAX_EXTRA)?;
        Ok(message)
    }

    pub(super) fn decode_reply(payload: &[u8]) -> Result<Self, WireError> {
        let message = Self::decode(payload)?;
        bounded("data", message.reply_extra(), MAX_EXTRA)?;
        Ok(message)
    }

    fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("IO", payload);
        let handle_or_status = fields.u64()?;
        let direction = match fields.u32()? {
            0 => Direction::Write,
            1 => Direction::Read,
            other => {
                return Err(WireError::Value {
                    field: "the direction of IO",
                    value: other.into(),
                });
            }
        };
        let message = Self {
            handle_or_status,
            direction,
            compression: fields.u32()?,
            offset: fields.u64()?,
            total: fields.u32()?,
            part: fields.u32()?,
            length: fields.u32()?,
            sent: fields.u32()?,
        };
        fields.skip(4)?;
        fields.end()?;
        Ok(message)
    }
}
