//! Fixed newstyle negotiation: greeting, options, replies to options.

use bitflags::bitflags;

use super::MAX_STRING;
use super::bytes::{Fields, PutFields, length_u32};

const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943; // "NBDMAGIC"
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054; // "IHAVEOPT"
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

const FIXED_NEWSTYLE: u16 = 1 << 0;
const NO_ZEROES: u16 = 1 << 1;

/// Zero bytes after the answer to `EXPORT_NAME`, for clients that did not ask to leave them out.
const EXPORT_NAME_PADDING: usize = 124;

/// Options that a client may send.
pub(crate) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
    pub(crate) const EXTENDED_HEADERS: u32 = 11;

    /// The name of an option, for logs and messages.
    pub(crate) fn name(number: u32) -> &'static str {
        match number {
            EXPORT_NAME => "EXPORT_NAME",
            ABORT => "ABORT",
            LIST => "LIST",
            4 => "PEEK_EXPORT",
            STARTTLS => "STARTTLS",
            INFO => "INFO",
            GO => "GO",
            STRUCTURED_REPLY => "STRUCTURED_REPLY",
            LIST_META_CONTEXT => "LIST_META_CONTEXT",
            SET_META_CONTEXT => "SET_META_CONTEXT",
            EXTENDED_HEADERS => "EXTENDED_HEADERS",
            _ => "an unknown option",
        }
    }
}

/// Items of information about an export.
pub(crate) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DESCRIPTION: u16 = 2;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// What a reply to an option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ReplyKind {
    Ack = 1,
    Server = 2,
    Info = 3,
    MetaContext = 4,
    Unsupported = 0x8000_0001,
    Policy = 0x8000_0002,
    Invalid = 0x8000_0003,
    TlsRequired = 0x8000_0005,
    Unknown = 0x8000_0006,
    Shutdown = 0x8000_0007,
    TooBig = 0x8000_0009,
    ExtendedHeadersRequired = 0x8000_000a,
}

bitflags! {
    /// What the server offers for one export, told when negotiation ends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct TransmissionFlags: u16 {
        const HAS_FLAGS = 1 << 0;
        const READ_ONLY = 1 << 1;
        const SEND_FLUSH = 1 << 2;
        const SEND_FUA = 1 << 3;
        const SEND_TRIM = 1 << 5;
        const SEND_WRITE_ZEROES = 1 << 6;
        const SEND_DF = 1 << 7;
        const CAN_MULTI_CONN = 1 << 8;
        const SEND_CACHE = 1 << 10;
        const SEND_FAST_ZERO = 1 << 11;
        const BLOCK_STATUS_PAYLOAD = 1 << 12;
        const _ = !0;
    }
}

/// The first bytes of a connection, sent by the server.
pub(crate) fn greeting() -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    out.put_u64(GREETING_MAGIC);
    out.put_u64(OPTION_MAGIC);
    out.put_u16(FIXED_NEWSTYLE | NO_ZEROES);
    out
}

/// The client's answer to the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientFlags {
    /// The client understands replies to options other than `EXPORT_NAME`.
    pub(crate) fixed_newstyle: bool,
    /// The answer to `EXPORT_NAME` is to carry no padding.
    pub(crate) no_zeroes: bool,
}

impl ClientFlags {
    pub(crate) const SIZE: usize = 4;

    /// `None` if a bit is set that the server did not offer: the protocol asks to hang up then.
    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let bits = Fields::new(&bytes).u32()?;
        if bits & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
            return None;
        }
        Some(Self {
            fixed_newstyle: bits & u32::from(FIXED_NEWSTYLE) != 0,
            no_zeroes: bits & u32::from(NO_ZEROES) != 0,
        })
    }
}

/// What stands before the data of every option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionHeader {
    pub(crate) option: u32,
    /// Bytes of data that follow; not checked against any limit yet.
    pub(crate) length: u32,
}

impl OptionHeader {
    pub(crate) const SIZE: usize = 16;

    /// `None` if the magic is wrong: the stream cannot be followed any further.
    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let mut fields = Fields::new(&bytes);
        if fields.u64()? != OPTION_MAGIC {
            return None;
        }
        Some(Self {
            option: fields.u32()?,
            length: fields.u32()?,
        })
    }
}

/// Why the data of an option makes no sense; the text goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadData {
    #[error("the lengths inside the option do not match its size")]
    Lengths,
    #[error("a string is longer than {MAX_STRING} bytes")]
    LongString,
    #[error("a string is not UTF-8 without NUL bytes")]
    BadString,
    #[error("more than {0} queries")]
    ManyQueries(usize),
}

fn string(bytes: &[u8]) -> Result<&str, BadData> {
    if bytes.len() > MAX_STRING {
        return Err(BadData::LongString);
    }
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(BadData::BadString),
    }
}

/// The data of `EXPORT_NAME`: the name alone.
pub(crate) fn decode_export_name(data: &[u8]) -> Result<&str, BadData> {
    string(data)
}

/// The data of `INFO` and `GO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InfoRequest<'a> {
    pub(crate) name: &'a str,
    /// The items asked for, as sent: unknown and repeated ones included.
    pub(crate) wanted: Vec<u16>,
}

impl<'a> InfoRequest<'a> {
    pub(crate) fn decode(data: &'a [u8]) -> Result<Self, BadData> {
        let mut fields = Fields::new(data);
        let name = fields.counted().ok_or(BadData::Lengths)?;
        let count = fields.u16().ok_or(BadData::Lengths)?;
        let mut wanted = Vec::new();
        for _ in 0..count {
            wanted.push(fields.u16().ok_or(BadData::Lengths)?);
        }
        if !fields.is_empty() {
            return Err(BadData::Lengths);
        }
        Ok(Self {
            name: string(name)?,
            wanted,
        })
    }
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextRequest<'a> {
    pub(crate) name: &'a str,
    pub(crate) queries: Vec<&'a str>,
}

impl<'a> ContextRequest<'a> {
    /// Refuses more than `max_queries` queries before reading any.
    pub(crate) fn decode(data: &'a [u8], max_queries: usize) -> Result<Self, BadData> {
        let mut fields = Fields::new(data);
        let name = fields.counted().ok_or(BadData::Lengths)?;
        let count = fields.u32().ok_or(BadData::Lengths)?;
        if usize::try_from(count).map_or(true, |count| count > max_queries) {
            return Err(BadData::ManyQueries(max_queries));
        }
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(string(fields.counted().ok_or(BadData::Lengths)?)?);
        }
        if !fields.is_empty() {
            return Err(BadData::Lengths);
        }
        Ok(Self {
            name: string(name)?,
            queries,
        })
    }
}

/// Appends one reply to `option`.
pub(crate) fn put_reply(out: &mut Vec<u8>, option: u32, kind: ReplyKind, data: &[u8]) {
    out.put_u64(REPLY_MAGIC);
    out.put_u32(option);
    out.put_u32(kind as u32);
    out.put_u32(length_u32(data.len()));
    out.extend_from_slice(data);
}

/// The data of a `SERVER` reply.
pub(crate) fn server_entry(name: &str, description: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(4 + name.len() + description.len());
    data.put_u32(length_u32(name.len()));
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(description.as_bytes());
    data
}

/// The data of a `META_CONTEXT` reply.
pub(crate) fn meta_context(id: u32, name: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(4 + name.len());
    data.put_u32(id);
    data.extend_from_slice(name.as_bytes());
    data
}

/// The data of an `INFO` reply about size and flags.
pub(crate) fn export_info(size: u64, flags: TransmissionFlags) -> Vec<u8> {
    let mut data = Vec::with_capacity(12);
    data.put_u16(info::EXPORT);
    data.put_u64(size);
    data.put_u16(flags.bits());
    data
}

/// The data of an `INFO` reply that carries text: name or description.
pub(crate) fn text_info(kind: u16, text: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(2 + text.len());
    data.put_u16(kind);
    data.extend_from_slice(text.as_bytes());
    data
}

/// The data of an `INFO` reply about block sizes, all in bytes.
pub(crate) fn block_size_info(minimum: u32, preferred: u32, maximum_payload: u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(14);
    data.put_u16(info::BLOCK_SIZE);
    data.put_u32(minimum);
    data.put_u32(preferred);
    data.put_u32(maximum_payload);
    data
}

/// The whole answer to `EXPORT_NAME`, which has no reply header.
pub(crate) fn export_name_answer(size: u64, flags: TransmissionFlags, padding: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(10 + EXPORT_NAME_PADDING);
    out.put_u64(size);
    out.put_u16(flags.bits());
    if padding {
        out.resize(out.len() + EXPORT_NAME_PADDING, 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn greeting_is_the_documented_one() {
        assert_eq!(greeting(), b"NBDMAGICIHAVEOPT\x00\x03");
    }

    #[test]
    fn client_flags_refuse_what_was_not_offered() {
        let both = ClientFlags {
            fixed_newstyle: true,
            no_zeroes: true,
        };
        assert_eq!(ClientFlags::decode([0, 0, 0, 3]), Some(both));
        assert_eq!(ClientFlags::decode([0, 0, 0, 4]), None);
        assert_eq!(ClientFlags::decode([0x80, 0, 0, 1]), None);
    }

    #[test]
    fn option_header_needs_its_magic() {
        let header = OptionHeader {
            option: 7,
            length: 258,
        };
        assert_eq!(
            OptionHeader::decode(*b"IHAVEOPT\x00\x00\x00\x07\x00\x00\x01\x02"),
            Some(header)
        );
        assert_eq!(
            OptionHeader::decode(*b"IHAVEOPX\x00\x00\x00\x07\x00\x00\x01\x02"),
            None
        );
    }

    #[test]
    fn info_request_uses_its_data_up_exactly() {
        let good = b"\0\0\0\x02ab\0\x02\0\x03\0\x02";
        let request = InfoRequest::decode(good).unwrap();
        assert_eq!((request.name, request.wanted), ("ab", vec![3, 2]));
        for end in 0..good.len() {
            assert_eq!(InfoRequest::decode(&good[..end]), Err(BadData::Lengths));
        }
        let mut long = good.to_vec();
        long.push(0);
        assert_eq!(InfoRequest::decode(&long), Err(BadData::Lengths));
        assert_eq!(
            InfoRequest::decode(b"\xff\xff\xff\xffab\0\0"),
            Err(BadData::Lengths)
        );
    }

    #[test]
    fn names_are_text_of_bounded_length() {
        assert_eq!(decode_export_name(b"a\0b"), Err(BadData::BadString));
        assert_eq!(decode_export_name(b"\xff"), Err(BadData::BadString));
        assert_eq!(decode_export_name(&[b'x'; 4097]), Err(BadData::LongString));
        assert_eq!(
            decode_export_name(&[b'x'; 4096]).map(str::len),
            Ok(MAX_STRING)
        );
    }

    #[test]
    fn context_request_counts_before_it_reads() {
        let data = b"\0\0\0\0\0\0\0\x02\0\0\0\x05base:\0\0\0\x02x:";
        let request = ContextRequest::decode(data, 2).unwrap();
        assert_eq!((request.name, request.queries), ("", vec!["base:", "x:"]));
        assert_eq!(
            ContextRequest::decode(data, 1),
            Err(BadData::ManyQueries(1))
        );
        assert_eq!(
            ContextRequest::decode(b"\0\0\0\0\xff\xff\xff\xff", 1024),
            Err(BadData::ManyQueries(1024))
        );
        assert_eq!(
            ContextRequest::decode(b"\0\0\0\0\0\0\0\x01\0\0\0\x05base", 4),
            Err(BadData::Lengths)
        );
    }

    #[test]
    fn replies_have_the_documented_layout() {
        let mut out = Vec::new();
        put_reply(&mut out, option::GO, ReplyKind::Ack, b"");
        put_reply(&mut out, 99, ReplyKind::Unsupported, b"no");
        assert_eq!(
            out,
            b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\0\0\0\x01\0\0\0\0\
              \x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x63\x80\0\0\x01\0\0\0\x02no"
        );
        let flags = TransmissionFlags::HAS_FLAGS | TransmissionFlags::READ_ONLY;
        assert_eq!(export_info(512, flags), b"\0\0\0\0\0\0\0\0\x02\0\0\x03");
        assert_eq!(block_size_info(1, 4096, 1 << 25).len(), 14);
        assert_eq!(export_name_answer(0, flags, true).len(), 134);
        assert_eq!(export_name_answer(0, flags, false).len(), 10);
        assert_eq!(server_entry("ab", "text"), b"\0\0\0\x02abtext");
        assert_eq!(meta_context(1, "a:b"), b"\0\0\0\x01a:b");
        assert_eq!(text_info(info::NAME, "n"), b"\0\x01n");
    }

    proptest! {
        #[test]
        fn arbitrary_data_never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = InfoRequest::decode(&data);
            let _ = ContextRequest::decode(&data, 16);
            let _ = decode_export_name(&data);
        }

        #[test]
        fn info_requests_round_trip(name in "[^\0]{0,40}", wanted in proptest::collection::vec(any::<u16>(), 0..20)) {
            let mut data = Vec::new();
            data.put_u32(length_u32(name.len()));
            data.extend_from_slice(name.as_bytes());
            data.put_u16(u16::try_from(wanted.len()).unwrap());
            for kind in &wanted {
                data.put_u16(*kind);
            }
            let decoded = InfoRequest::decode(&data).unwrap();
            prop_assert_eq!(decoded, InfoRequest { name: &name, wanted });
        }

        #[test]
        fn context_requests_round_trip(name in "[^\0]{0,40}", queries in proptest::collection::vec("[^\0]{0,20}", 0..20)) {
            let mut data = server_entry(&name, "");
            data.put_u32(length_u32(queries.len()));
            for query in &queries {
                data.extend_from_slice(&server_entry(query, ""));
            }
            let decoded = ContextRequest::decode(&data, 20).unwrap();
            prop_assert_eq!(decoded.name, name);
            prop_assert_eq!(decoded.queries, queries);
        }
    }
}
