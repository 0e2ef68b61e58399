//! The older messages, each a frame of 264 bytes. A disk session begins and ends with them.
//!
//! Each frame has to be a write of its own, and a TLS record of its own: a host takes one message from a record and
//! leaves what follows it there.

use super::error::bounded;
use super::fields::{Builder, Fields};
use super::{WireError, aio::MAX_TEXT};

/// The length of every frame in bytes.
pub const FRAME: usize = 264;

/// The longest tag, and the longest name of a client or of what it does, in bytes.
pub const MAX_NAME: usize = 256;

/// One frame. What follows it ([`Frame::extra`]) is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// 43, from the client: the tag of the command `THUMBPRINT_SHA2`, without zero bytes, at most [`MAX_NAME`] bytes.
    ClientRandom(Vec<u8>),
    /// 33, from the client: asks what the host can do; an empty request to copy a file.
    Probe,
    /// 36, from the host: the answer to the probe.
    ProbeReply {
        /// 1 when the host knows the message `Version`.
        knows_version: u32,
    },
    /// 51, in both directions: the version of the protocol.
    Version {
        /// 11 for ESXi 8, 9 for ESXi 7.0.3.
        version: u32,
        /// 0 or 1; its meaning is unknown.
        second: u32,
    },
    /// 54, from the client: followed by its name and by what it does, without zero bytes.
    Connection {
        /// Length of the name in bytes.
        name: u32,
        /// Length of what it does in bytes.
        operation: u32,
    },
    /// 55, from the client: bit 0 for interruption, bit 1 for a change of the host.
    Features(u32),
    /// 52, in both directions: what follows is in the other protocol.
    OpenAio,
    /// 4, from the client: the session ends. From the host: it refuses to go on.
    SessionComplete,
    /// 20, from the host: a refusal, followed by its text.
    Error {
        /// The kind of the error.
        kind: u32,
        /// The error within its kind.
        code: u32,
        /// Length of the text in bytes, which ends with a zero byte.
        text: u32,
    },
    /// 8: asks for nothing and is not answered.
    Ping,
    /// A message without use for disk sessions.
    Other(u32),
}

impl Frame {
    /// The 264 bytes. Of a tag only the first [`MAX_NAME`] bytes are taken.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME] {
        let body = Builder::default().u32(self.number());
        let body = match self {
            Self::ClientRandom(tag) => body.bytes(tag.get(..MAX_NAME).unwrap_or(tag)),
            Self::ProbeReply { knows_version } => body.zeroes(12).u32(*knows_version),
            Self::Version { version, second } => body.u32(*version).u32(*second),
            Self::Connection { name, operation } => body.u32(*name).u32(*operation),
            Self::Features(mask) => body.u32(*mask),
            Self::Error { kind, code, text } => body.u32(*kind).u32(*code).u32(*text),
            Self::Probe | Self::OpenAio | Self::SessionComplete | Self::Ping | Self::Other(_) => {
                body
            }
        };
        let mut frame = [0; FRAME];
        for (to, from) in frame.iter_mut().zip(body.finish()) {
            *to = from;
        }
        frame
    }

    /// Takes a frame apart. What has no meaning in it may hold anything.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when what follows it is longer than accepted.
    pub fn decode(frame: &[u8; FRAME]) -> Result<Self, WireError> {
        let mut fields = Fields::new("a classic message", frame);
        Ok(match fields.u32()? {
            43 => {
                let tag: [u8; MAX_NAME] = fields.array()?;
                Self::ClientRandom(tag.into_iter().take_while(|byte| *byte != 0).collect())
            }
            33 => Self::Probe,
            36 => {
                fields.skip(12)?;
                Self::ProbeReply {
                    knows_version: fields.u32()?,
                }
            }
            51 => Self::Version {
                version: fields.u32()?,
                second: fields.u32()?,
            },
            54 => Self::Connection {
                name: bounded("the name of a client", fields.u32()?, MAX_NAME)?,
                operation: bounded("the name of an operation", fields.u32()?, MAX_NAME)?,
            },
            55 => Self::Features(fields.u32()?),
            52 => Self::OpenAio,
            4 => Self::SessionComplete,
            20 => Self::Error {
                kind: fields.u32()?,
                code: fields.u32()?,
                text: bounded("the text of an error", fields.u32()?, MAX_TEXT)?,
            },
            8 => Self::Ping,
            number => Self::Other(number),
        })
    }

    /// How many bytes follow the frame. It is bounded in a frame that was decoded.
    #[must_use]
    pub fn extra(&self) -> u32 {
        match self {
            Self::Connection { name, operation } => name.saturating_add(*operation),
            Self::Error { text, .. } => *text,
            _ => 0,
        }
    }

    /// The number of the message.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::ClientRandom(_) => 43,
            Self::Probe => 33,
            Self::ProbeReply { .. } => 36,
            Self::Version { .. } => 51,
            Self::Connection { .. } => 54,
            Self::Features(_) => 55,
            Self::OpenAio => 52,
            Self::SessionComplete => 4,
            Self::Error { .. } => 20,
            Self::Ping => 8,
            Self::Other(number) => *number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_frame_is_bounded() {
        let long = Frame::Connection {
            name: 257,
            operation: 0,
        };
        assert!(matches!(
            Frame::decode(&long.encode()),
            Err(WireError::TooLong { limit: 256, .. })
        ));
        let error = Frame::Error {
            kind: 1,
            code: 2,
            text: u32::MAX,
        };
        assert!(Frame::decode(&error.encode()).is_err());
    }

    #[test]
    fn a_tag_too_long_is_cut() {
        let frame = Frame::ClientRandom(vec![b'x'; 1000]);
        let decoded = Frame::decode(&frame.encode()).unwrap();
        assert_eq!(decoded, Frame::ClientRandom(vec![b'x'; MAX_NAME]));
    }
}
