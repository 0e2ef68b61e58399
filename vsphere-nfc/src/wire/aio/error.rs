//! A refusal.

use crate::wire::WireError;
use crate::wire::error::bounded;
use crate::wire::fields::{Builder, Fields};

/// The longest accepted text of an error in bytes.
pub const MAX_TEXT: usize = 16 << 10;

/// The host refuses the operation of the header. A text follows, without a zero byte.
///
/// To an OPEN_FILE it was seen to be followed by a normal reply of zeroes (ESXi 7.0.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// What went wrong. Publicly known are 5 (no memory for the request) and 11 (not permitted).
    pub code: u32,
    /// More about it, or 0.
    pub detail: u32,
    /// Length of the text in bytes.
    pub text: u32,
}

impl ErrorReply {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u32(self.code)
            .u32(self.detail)
            .u32(0)
            .u32(self.text)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("ERROR", payload);
        let code = fields.u32()?;
        let detail = fields.u32()?;
        fields.skip(4)?;
        let message = Self {
            code,
            detail,
            text: bounded("the text of an error", fields.u32()?, MAX_TEXT)?,
        };
        fields.end()?;
        Ok(message)
    }
}
