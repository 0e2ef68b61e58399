//! The transmission phase, from the server: simple replies, and chunks in their structured and extended form.

use super::MAX_STRING;
use super::bytes::{PutFields, length_u32};
use crate::nbd::ErrorNumber;

const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;
const EXTENDED_MAGIC: u32 = 0x6e8a_278c;

const DONE: u16 = 1 << 0;

/// Types of chunks.
mod chunk {
    pub(super) const NONE: u16 = 0;
    pub(super) const OFFSET_DATA: u16 = 1;
    pub(super) const OFFSET_HOLE: u16 = 2;
    pub(super) const BLOCK_STATUS: u16 = 5;
    pub(super) const BLOCK_STATUS_EXT: u16 = 6;
    pub(super) const ERROR: u16 = 0x8001;
    pub(super) const ERROR_OFFSET: u16 = 0x8002;
}

/// What was negotiated about the form of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Simple replies only: a read is answered in one piece, and errors have no text.
    Simple,
    /// Chunks of 32-bit lengths for reads, block status and errors, simple replies for the rest.
    Structured,
    /// Chunks of 64-bit lengths, for everything.
    Extended,
}

impl Framing {
    pub(crate) fn has_chunks(self) -> bool {
        self != Self::Simple
    }

    /// The longest extent of one block status descriptor, in bytes.
    pub(crate) fn longest_extent(self) -> u64 {
        match self {
            // The largest multiple of 64 KiB that fits in 32 bits, so that pieces of longer ones stay aligned.
            Self::Simple | Self::Structured => (1 << 32) - (1 << 16),
            Self::Extended => u64::MAX,
        }
    }
}

/// One descriptor of a block status reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// In bytes; never zero, and at most [`Framing::longest_extent`].
    pub(crate) length: u64,
    pub(crate) flags: u32,
}

/// `base:allocation`: the range takes no space of its own.
pub(crate) const STATE_HOLE: u32 = 1 << 0;
/// `base:allocation`: the range reads as zeroes.
pub(crate) const STATE_ZERO: u32 = 1 << 1;

/// The request that is answered, as far as its reply repeats it, and the form of the reply. A reply is made of one
/// call that returns it whole, or of several `put_` calls of which the last says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) framing: Framing,
    pub(crate) cookie: u64,
    /// In bytes.
    pub(crate) offset: u64,
}

impl Answer {
    /// Success without content. With simple replies the data of a read follows it.
    pub(crate) fn success(self) -> Vec<u8> {
        match self.framing {
            // Shorter than a chunk, and allowed for whatever has no content.
            Framing::Simple | Framing::Structured => self.simple(0),
            Framing::Extended => self.nothing(),
        }
    }

    /// A successful read of no bytes.
    pub(crate) fn empty_read(self) -> Vec<u8> {
        match self.framing {
            Framing::Simple => self.simple(0),
            Framing::Structured | Framing::Extended => self.nothing(),
        }
    }

    /// An error in words, if the client can take them; overlong text is cut. `position` is the byte where it happened,
    /// if that is known better than by the request.
    pub(crate) fn error(self, error: ErrorNumber, message: &str, position: Option<u64>) -> Vec<u8> {
        if self.framing == Framing::Simple {
            return self.simple(error.code());
        }
        let message = &message.as_bytes()[..message.floor_char_boundary(MAX_STRING)];
        let (kind, tail) = match position {
            None => (chunk::ERROR, 0),
            Some(_) => (chunk::ERROR_OFFSET, 8),
        };
        let mut out = Vec::new();
        self.put_header(&mut out, true, kind, 6 + message.len() + tail);
        out.put_u32(error.code());
        out.put_u16(u16::try_from(message.len()).expect("the text was cut above"));
        out.extend_from_slice(message);
        if let Some(position) = position {
            out.put_u64(position);
        }
        out
    }

    /// A part of a read, up to its data: `length` bytes from `start`, which are to be sent next.
    pub(crate) fn put_data(self, out: &mut Vec<u8>, last: bool, start: u64, length: usize) {
        self.put_header(out, last, chunk::OFFSET_DATA, 8 + length);
        out.put_u64(start);
    }

    /// A part of a read that is all zeroes: `length` bytes from `start`.
    pub(crate) fn put_hole(self, out: &mut Vec<u8>, last: bool, start: u64, length: usize) {
        self.put_header(out, last, chunk::OFFSET_HOLE, 12);
        out.put_u64(start);
        out.put_u32(length_u32(length));
    }

    /// The state of a range in the context `id`.
    pub(crate) fn put_status(
        self,
        out: &mut Vec<u8>,
        last: bool,
        id: u32,
        descriptors: &[Descriptor],
    ) {
        if self.framing == Framing::Extended {
            let payload = 8 + 16 * descriptors.len();
            self.put_header(out, last, chunk::BLOCK_STATUS_EXT, payload);
            out.put_u32(id);
            out.put_u32(length_u32(descriptors.len()));
            for descriptor in descriptors {
                out.put_u64(descriptor.length);
                out.put_u64(u64::from(descriptor.flags));
            }
        } else {
            let payload = 4 + 8 * descriptors.len();
            self.put_header(out, last, chunk::BLOCK_STATUS, payload);
            out.put_u32(id);
            for descriptor in descriptors {
                let length = u32::try_from(descriptor.length);
                out.put_u32(length.expect("no longer than the longest extent"));
                out.put_u32(descriptor.flags);
            }
        }
    }

    fn simple(self, error: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        out.put_u32(SIMPLE_MAGIC);
        out.put_u32(error);
        out.put_u64(self.cookie);
        out
    }

    fn nothing(self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_header(&mut out, true, chunk::NONE, 0);
        out
    }

    /// The header of a chunk. `payload` counts all that follows it.
    fn put_header(self, out: &mut Vec<u8>, last: bool, kind: u16, payload: usize) {
        let flags = if last { DONE } else { 0 };
        // Most replies are one chunk of little more than its header; longer ones grow.
        out.reserve(40);
        if self.framing == Framing::Extended {
            out.put_u32(EXTENDED_MAGIC);
            out.put_u16(flags);
            out.put_u16(kind);
            out.put_u64(self.cookie);
            out.put_u64(self.offset);
            out.put_u64(u64::from(length_u32(payload)));
        } else {
            out.put_u32(STRUCTURED_MAGIC);
            out.put_u16(flags);
            out.put_u16(kind);
            out.put_u64(self.cookie);
            out.put_u32(length_u32(payload));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn answer(framing: Framing) -> Answer {
        Answer {
            framing,
            cookie: 2,
            offset: 0x1000,
        }
    }

    const SIMPLE: Answer = answer(Framing::Simple);
    const STRUCTURED: Answer = answer(Framing::Structured);
    const EXTENDED: Answer = answer(Framing::Extended);

    fn put(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn simple_replies_have_the_documented_layout() {
        let success = b"\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\x02";
        assert_eq!(SIMPLE.success(), success);
        assert_eq!(SIMPLE.empty_read(), success);
        assert_eq!(STRUCTURED.success(), success);
        assert_eq!(
            SIMPLE.error(ErrorNumber::NoSpace, "unheard", None),
            b"\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\x02"
        );
    }

    #[test]
    fn structured_chunks_have_the_documented_layout() {
        assert_eq!(
            STRUCTURED.empty_read(),
            b"\x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0"
        );
        assert_eq!(
            put(|out| STRUCTURED.put_data(out, true, 5, 3)),
            b"\x66\x8e\x33\xef\0\x01\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x0b\0\0\0\0\0\0\0\x05"
        );
        assert_eq!(
            put(|out| STRUCTURED.put_hole(out, false, 5, 3)),
            b"\x66\x8e\x33\xef\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\x0c\0\0\0\0\0\0\0\x05\0\0\0\x03"
        );
        let descriptor = Descriptor {
            length: 512,
            flags: 3,
        };
        assert_eq!(
            put(|out| STRUCTURED.put_status(out, true, 1, &[descriptor])),
            b"\x66\x8e\x33\xef\0\x01\0\x05\0\0\0\0\0\0\0\x02\0\0\0\x0c\0\0\0\x01\0\0\x02\0\0\0\0\x03"
        );
        assert_eq!(
            STRUCTURED.error(ErrorNumber::Io, "no", None),
            b"\x66\x8e\x33\xef\0\x01\x80\x01\0\0\0\0\0\0\0\x02\0\0\0\x08\0\0\0\x05\0\x02no"
        );
        assert_eq!(
            STRUCTURED.error(ErrorNumber::Io, "no", Some(9)),
            b"\x66\x8e\x33\xef\0\x01\x80\x02\0\0\0\0\0\0\0\x02\0\0\0\x10\0\0\0\x05\0\x02no\0\0\0\0\0\0\0\x09"
        );
    }

    #[test]
    fn extended_chunks_have_the_documented_layout() {
        let head = |flags: u8, kind: [u8; 2], payload: u8| {
            let mut head = b"\x6e\x8a\x27\x8c\0".to_vec();
            head.push(flags);
            head.extend(kind);
            head.extend(b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0");
            head.push(payload);
            head
        };
        assert_eq!(EXTENDED.success(), head(1, [0, 0], 0));
        assert_eq!(EXTENDED.empty_read(), head(1, [0, 0], 0));
        let data = put(|out| EXTENDED.put_data(out, false, 5, 3));
        assert_eq!(
            data,
            [&head(0, [0, 1], 11)[..], b"\0\0\0\0\0\0\0\x05"].concat()
        );
        let hole = put(|out| EXTENDED.put_hole(out, true, 5, 3));
        assert_eq!(
            hole,
            [&head(1, [0, 2], 12)[..], b"\0\0\0\0\0\0\0\x05\0\0\0\x03"].concat()
        );
        let descriptor = Descriptor {
            length: 1 << 32,
            flags: 3,
        };
        let status = put(|out| EXTENDED.put_status(out, true, 1, &[descriptor]));
        let payload = b"\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x03";
        assert_eq!(status, [&head(1, [0, 6], 24)[..], payload].concat());
        assert_eq!(
            EXTENDED.error(ErrorNumber::Io, "no", None),
            [&head(1, [0x80, 1], 8)[..], b"\0\0\0\x05\0\x02no"].concat()
        );
    }

    #[test]
    fn overlong_error_text_is_cut_between_characters() {
        let text = "é".repeat(MAX_STRING);
        let reply = STRUCTURED.error(ErrorNumber::Io, &text, None);
        let sent = str::from_utf8(&reply[26..]).unwrap();
        assert_eq!(sent.len(), MAX_STRING);
        let shifted = format!("a{text}");
        let reply = STRUCTURED.error(ErrorNumber::Io, &shifted, None);
        let sent = str::from_utf8(&reply[26..]).unwrap();
        assert_eq!(sent.len(), MAX_STRING - 1);
    }
}
