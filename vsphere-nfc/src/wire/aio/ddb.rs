//! The disk database: text by key.

use crate::wire::WireError;
use crate::wire::error::bounded;
use crate::wire::fields::{Builder, Fields};

/// The longest accepted key in bytes.
pub const MAX_KEY: usize = 1024;

/// The longest accepted value in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// Asks for a value. The key follows, in ASCII, without `ddb.` and without a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DdbGet {
    /// The open disk.
    pub handle: u64,
    /// Length of the key in bytes.
    pub key: u32,
}

impl DdbGet {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u64(self.handle)
            .u32(self.key)
            .u32(0)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("DDB_GET", payload);
        let message = Self {
            handle: fields.u64()?,
            key: bounded("a key", fields.u32()?, MAX_KEY)?,
        };
        fields.skip(4)?;
        fields.end()?;
        Ok(message)
    }
}

/// The answer. The value follows, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DdbValue {
    /// Length of the value in bytes; 0 when there is no such key.
    pub value: u32,
}

impl DdbValue {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default().zeroes(12).u32(self.value).finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("the reply to DDB_GET", payload);
        fields.skip(12)?;
        let message = Self {
            value: bounded("a value", fields.u32()?, MAX_VALUE)?,
        };
        fields.end()?;
        Ok(message)
    }
}
