//! The transmission phase, from the client: requests in their compact and their extended form.

use bitflags::bitflags;

use super::bytes::Fields;

const COMPACT_MAGIC: u32 = 0x2560_9513;
const EXTENDED_MAGIC: u32 = 0x21e4_1c71;

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
        /// Of extended requests: the length is that of the payload.
        const PAYLOAD_LEN = 1 << 5;
        const _ = !0;
    }
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
    pub(crate) length: u64,
    /// Bytes that follow the request.
    pub(crate) payload: u64,
}

impl Request {
    pub(crate) const COMPACT: usize = 28;
    pub(crate) const EXTENDED: usize = 32;

    /// `None` if the magic is wrong: the stream cannot be followed any further.
    pub(crate) fn decode_compact(bytes: [u8; Self::COMPACT]) -> Option<Self> {
        let mut fields = Fields::new(&bytes);
        let mut request = Self::decode_head(&mut fields, COMPACT_MAGIC)?;
        request.length = u64::from(fields.u32()?);
        if request.command == command::WRITE {
            request.payload = request.length;
        }
        Some(request)
    }

    /// `None` if the magic is wrong: the stream cannot be followed any further.
    pub(crate) fn decode_extended(bytes: [u8; Self::EXTENDED]) -> Option<Self> {
        let mut fields = Fields::new(&bytes);
        let mut request = Self::decode_head(&mut fields, EXTENDED_MAGIC)?;
        request.length = fields.u64()?;
        // The data of a write comes with or without the flag: the protocol asks for it, and qemu 10 leaves it out.
        let announced = request.flags.contains(CommandFlags::PAYLOAD_LEN);
        if announced || request.command == command::WRITE {
            request.payload = request.length;
        }
        Some(request)
    }

    fn decode_head(fields: &mut Fields<'_>, magic: u32) -> Option<Self> {
        if fields.u32()? != magic {
            return None;
        }
        Some(Self {
            flags: CommandFlags::from_bits_retain(fields.u16()?),
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: 0,
            payload: 0,
        })
    }
}

/// The payload of a block status request: how long the range is, and which contexts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusPayload {
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) ids: Vec<u32>,
}

impl StatusPayload {
    /// Bytes of a payload that names `contexts` contexts.
    pub(crate) const fn size(contexts: usize) -> usize {
        8 + 4 * contexts
    }

    /// `None` if it is no length followed by whole ids.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let length = fields.u64()?;
        let mut ids = Vec::new();
        while !fields.is_empty() {
            ids.push(fields.u32()?);
        }
        Some(Self { length, ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::wire::bytes::PutFields;
    use proptest::prelude::*;

    fn encode(magic: u32, request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(magic);
        out.put_u16(request.flags.bits());
        out.put_u16(request.command);
        out.put_u64(request.cookie);
        out.put_u64(request.offset);
        match u32::try_from(request.length) {
            Ok(length) if magic == COMPACT_MAGIC => out.put_u32(length),
            _ => out.put_u64(request.length),
        }
        out
    }

    #[test]
    fn compact_requests_have_the_documented_layout() {
        let bytes = *b"\x25\x60\x95\x13\0\x01\0\x01\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\x01\0\0\0\0\x02\0";
        let request = Request::decode_compact(bytes).unwrap();
        assert_eq!(request.flags, CommandFlags::FUA);
        assert_eq!(request.command, command::WRITE);
        assert_eq!(request.cookie, 0x1122_3344_5566_7788);
        assert_eq!((request.offset, request.length), (65536, 512));
        assert_eq!(request.payload, 512, "a write brings its data");
    }

    #[test]
    fn extended_requests_have_the_documented_layout() {
        let bytes = *b"\x21\xe4\x1c\x71\0\x20\0\x01\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\x01\0\0\0\0\0\x01\0\0\x02\0";
        let request = Request::decode_extended(bytes).unwrap();
        assert_eq!(request.flags, CommandFlags::PAYLOAD_LEN);
        assert_eq!(request.command, command::WRITE);
        assert_eq!(request.cookie, 0x1122_3344_5566_7788);
        assert_eq!(
            (request.offset, request.length),
            (65536, (1 << 32) + 512),
            "lengths have 64 bits"
        );
        assert_eq!(request.payload, request.length);
        let mut bare = bytes;
        bare[5] = 0;
        let request = Request::decode_extended(bare).unwrap();
        assert_eq!(request.payload, request.length, "as qemu 10 writes");
        bare[7] = 0;
        let request = Request::decode_extended(bare).unwrap();
        assert_eq!(request.payload, 0, "else only the flag announces a payload");
    }

    #[test]
    fn status_payloads_have_whole_ids() {
        let bytes = b"\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x07";
        let payload = StatusPayload::decode(bytes).unwrap();
        assert_eq!((payload.length, payload.ids), (1 << 32, vec![1, 7]));
        assert_eq!(bytes.len(), StatusPayload::size(2));
        for end in [0, 7, 9, 15] {
            assert_eq!(StatusPayload::decode(&bytes[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            compact in any::<[u8; Request::COMPACT]>(),
            extended in any::<[u8; Request::EXTENDED]>(),
        ) {
            let _ = Request::decode_compact(compact);
            let _ = Request::decode_extended(extended);
            let _ = StatusPayload::decode(&compact);
        }

        #[test]
        fn compact_requests_round_trip(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) {
            let flags = CommandFlags::from_bits_retain(flags);
            let length = u64::from(length);
            let payload = if command == command::WRITE { length } else { 0 };
            let request = Request { flags, command, cookie, offset, length, payload };
            let bytes: [u8; Request::COMPACT] = encode(COMPACT_MAGIC, &request).try_into().unwrap();
            prop_assert_eq!(Request::decode_compact(bytes), Some(request));
            let mut damaged = bytes;
            damaged[3] ^= 1;
            prop_assert_eq!(Request::decode_compact(damaged), None);
        }

        #[test]
        fn extended_requests_round_trip(flags: u16, command: u16, cookie: u64, offset: u64, length: u64) {
            let flags = CommandFlags::from_bits_retain(flags);
            let carries = flags.contains(CommandFlags::PAYLOAD_LEN) || command == command::WRITE;
            let payload = if carries { length } else { 0 };
            let request = Request { flags, command, cookie, offset, length, payload };
            let bytes: [u8; Request::EXTENDED] = encode(EXTENDED_MAGIC, &request).try_into().unwrap();
            prop_assert_eq!(Request::decode_extended(bytes), Some(request));
            let mut damaged = bytes;
            damaged[3] ^= 1;
            prop_assert_eq!(Request::decode_extended(damaged), None);
        }
    }
}
