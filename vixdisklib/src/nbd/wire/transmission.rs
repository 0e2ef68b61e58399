//! The transmission phase: requests, and simple and structured replies.

use bitflags::bitflags;

use super::bytes::{Fields, PutFields, length_u32};
use crate::nbd::ErrorNumber;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;

const CHUNK_DONE: u16 = 1 << 0;
const CHUNK_HEADER: usize = 20;

/// The longest error text that is sent, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Commands that a client may send.
pub(crate) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;

    /// The name of a command, for logs and messages.
    pub(crate) fn name(number: u16) -> &'static str {
        match number {
            READ => "read",
            WRITE => "write",
            DISC => "disconnect",
            FLUSH => "flush",
            TRIM => "trim",
            CACHE => "cache",
            WRITE_ZEROES => "write zeroes",
            BLOCK_STATUS => "block status",
            _ => "unknown command",
        }
    }
}

bitflags! {
    /// Flags of one request.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct CommandFlags: u16 {
        const FUA = 1 << 0;
        const NO_HOLE = 1 << 1;
        const DF = 1 << 2;
        const REQ_ONE = 1 << 3;
        const FAST_ZERO = 1 << 4;
        const _ = !0;
    }
}

/// Types of structured reply chunks that this server sends.
mod chunk {
    pub(super) const NONE: u16 = 0;
    pub(super) const OFFSET_DATA: u16 = 1;
    pub(super) const BLOCK_STATUS: u16 = 5;
    pub(super) const ERROR: u16 = 0x8001;
}

/// One request as it came, nothing checked but the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) flags: CommandFlags,
    pub(crate) command: u16,
    /// Chosen by the client and echoed bit for bit.
    pub(crate) cookie: u64,
    /// In bytes.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u32,
}

impl Request {
    pub(crate) const SIZE: usize = 28;

    /// `None` if the magic is wrong: the stream cannot be followed any further.
    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let mut fields = Fields::new(&bytes);
        if fields.u32()? != REQUEST_MAGIC {
            return None;
        }
        Some(Self {
            flags: CommandFlags::from_bits_retain(fields.u16()?),
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u32()?,
        })
    }
}

/// One descriptor of a block status reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// In bytes; never zero.
    pub(crate) length: u32,
    pub(crate) flags: u32,
}

/// `base:allocation`: the range takes no space of its own.
pub(crate) const STATE_HOLE: u32 = 1 << 0;
/// `base:allocation`: the range reads as zeroes.
pub(crate) const STATE_ZERO: u32 = 1 << 1;

/// A simple reply without error; the data of a read follows it.
pub(crate) fn simple_success(cookie: u64) -> Vec<u8> {
    simple(cookie, 0)
}

/// A simple reply that reports an error.
pub(crate) fn simple_error(cookie: u64, error: ErrorNumber) -> Vec<u8> {
    simple(cookie, error.code())
}

fn simple(cookie: u64, error: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    out.put_u32(SIMPLE_REPLY_MAGIC);
    out.put_u32(error);
    out.put_u64(cookie);
    out
}

/// The header of a chunk that ends its reply. Replies of this server have one chunk each.
fn final_chunk(cookie: u64, kind: u16, payload: usize, here: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHUNK_HEADER + here);
    out.put_u32(CHUNK_MAGIC);
    out.put_u16(CHUNK_DONE);
    out.put_u16(kind);
    out.put_u64(cookie);
    out.put_u32(length_u32(payload));
    out
}

/// A structured reply without content.
pub(crate) fn structured_none(cookie: u64) -> Vec<u8> {
    final_chunk(cookie, chunk::NONE, 0, 0)
}

/// A structured reply to a read, up to its data: `length` bytes from `offset`, which the caller sends next.
pub(crate) fn structured_data(cookie: u64, offset: u64, length: usize) -> Vec<u8> {
    let mut out = final_chunk(cookie, chunk::OFFSET_DATA, 8 + length, 8);
    out.put_u64(offset);
    out
}

/// A structured reply with the state of a range in the context `id`.
pub(crate) fn structured_block_status(cookie: u64, id: u32, extents: &[Descriptor]) -> Vec<u8> {
    let payload = 4 + extents.len() * 8;
    let mut out = final_chunk(cookie, chunk::BLOCK_STATUS, payload, payload);
    out.put_u32(id);
    for extent in extents {
        out.put_u32(extent.length);
        out.put_u32(extent.flags);
    }
    out
}

/// A structured reply that reports an error in words; overlong text is cut.
pub(crate) fn structured_error(cookie: u64, error: ErrorNumber, message: &str) -> Vec<u8> {
    let message = &message.as_bytes()[..message.floor_char_boundary(MAX_MESSAGE)];
    let payload = 6 + message.len();
    let mut out = final_chunk(cookie, chunk::ERROR, payload, payload);
    out.put_u32(error.code());
    out.put_u16(u16::try_from(message.len()).expect("the text was cut above"));
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(request: &Request) -> [u8; Request::SIZE] {
        let mut out = Vec::new();
        out.put_u32(REQUEST_MAGIC);
        out.put_u16(request.flags.bits());
        out.put_u16(request.command);
        out.put_u64(request.cookie);
        out.put_u64(request.offset);
        out.put_u32(request.length);
        out.try_into().unwrap()
    }

    #[test]
    fn request_has_the_documented_layout() {
        let bytes = *b"\x25\x60\x95\x13\0\x01\0\x01\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\x01\0\0\0\0\x02\0";
        let request = Request::decode(bytes).unwrap();
        assert_eq!(request.flags, CommandFlags::FUA);
        assert_eq!(request.command, command::WRITE);
        assert_eq!(request.cookie, 0x1122_3344_5566_7788);
        assert_eq!((request.offset, request.length), (65536, 512));
    }

    #[test]
    fn replies_have_the_documented_layout() {
        assert_eq!(
            simple_success(1),
            b"\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\x01"
        );
        assert_eq!(
            simple_error(1, ErrorNumber::NoSpace),
            b"\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\x01"
        );
        assert_eq!(
            structured_none(2),
            b"\x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0"
        );
        assert_eq!(
            structured_data(2, 5, 3),
            b"\x66\x8e\x33\xef\0\x01\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x0b\0\0\0\0\0\0\0\x05"
        );
        assert_eq!(
            structured_block_status(
                2,
                1,
                &[Descriptor {
                    length: 512,
                    flags: 3
                }]
            ),
            b"\x66\x8e\x33\xef\0\x01\0\x05\0\0\0\0\0\0\0\x02\0\0\0\x0c\0\0\0\x01\0\0\x02\0\0\0\0\x03"
        );
        assert_eq!(
            structured_error(2, ErrorNumber::Io, "no"),
            b"\x66\x8e\x33\xef\0\x01\x80\x01\0\0\0\0\0\0\0\x02\0\0\0\x08\0\0\0\x05\0\x02no"
        );
    }

    #[test]
    fn overlong_error_text_is_cut_between_characters() {
        let text = "é".repeat(MAX_MESSAGE);
        let reply = structured_error(0, ErrorNumber::Io, &text);
        let sent = str::from_utf8(&reply[26..]).unwrap();
        assert_eq!(sent.len(), MAX_MESSAGE);
        let shifted = format!("a{text}");
        let reply = structured_error(0, ErrorNumber::Io, &shifted);
        assert_eq!(str::from_utf8(&reply[26..]).unwrap().len(), MAX_MESSAGE - 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<[u8; Request::SIZE]>()) {
            let _ = Request::decode(bytes);
        }

        #[test]
        fn requests_round_trip(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) {
            let flags = CommandFlags::from_bits_retain(flags);
            let request = Request { flags, command, cookie, offset, length };
            let bytes = encode(&request);
            prop_assert_eq!(Request::decode(bytes), Some(request));
            let mut damaged = bytes;
            damaged[3] ^= 1;
            prop_assert_eq!(Request::decode(damaged), None);
        }
    }
}
