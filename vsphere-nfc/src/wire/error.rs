//! What can be wrong with received bytes.

/// Why bytes are no message. Whoever receives such bytes has to give up the connection: nothing marks where the next
/// message would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The header does not begin with the protocol's mark.
    #[error("a message begins with {0:#010x} instead of {magic:#010x}", magic = super::aio::MAGIC)]
    Magic(u32),
    /// The message has fewer or more bytes than its kind has.
    #[error("{message} has {actual} bytes")]
    Length {
        /// The message.
        message: &'static str,
        /// Its length in bytes.
        actual: usize,
    },
    /// A length is beyond what is accepted.
    #[error("{what} of {actual} bytes, where at most {limit} are accepted")]
    TooLong {
        /// What the length belongs to.
        what: &'static str,
        /// The announced length in bytes.
        actual: u64,
        /// The longest accepted one.
        limit: usize,
    },
    /// A field has a value that the protocol does not know.
    #[error("{field} has the unknown value {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A line of text is not ASCII, or not of the expected shape.
    #[error("{0}")]
    Line(&'static str),
}

/// Refuses a length beyond `limit`.
pub(super) fn bounded(what: &'static str, length: u32, limit: usize) -> Result<u32, WireError> {
    match usize::try_from(length) {
        Ok(fits) if fits <= limit => Ok(length),
        _ => Err(WireError::TooLong {
            what,
            actual: length.into(),
            limit,
        }),
    }
}
