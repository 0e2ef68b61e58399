//! What holds of all messages, and of all bytes.

use proptest::prelude::*;

use super::aio::{
    Bitmap, CloseFile, CloseSession, DdbGet, DdbValue, Direction, ErrorReply, FileOpened, Geometry,
    HEADER, Header, Io, Kind, MAX_BITMAP, MAX_EXTRA, MAX_KEY, MAX_PATH, MAX_PAYLOAD, MAX_TEXT,
    MAX_VALUE, OpenFile, OpenFlags, OpenSession, QueryBlocks, Reply, Request, SocketOptions,
};
use super::authd::{Command, Greeting, take_line};
use super::classic::{FRAME, Frame, MAX_NAME};

fn up_to(limit: usize) -> impl Strategy<Value = u32> {
    0..=u32::try_from(limit).unwrap()
}

fn io() -> impl Strategy<Value = Io> {
    let direction = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let lengths = (
        any::<u32>(),
        any::<u32>(),
        up_to(MAX_EXTRA),
        up_to(MAX_EXTRA),
    );
    (any::<u64>(), direction, any::<u32>(), any::<u64>(), lengths).prop_map(
        |(handle_or_status, direction, compression, offset, (total, part, length, sent))| Io {
            handle_or_status,
            direction,
            compression,
            offset,
            total,
            part,
            length,
            sent,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let sizes = (any::<u32>(), any::<u32>(), any::<u32>());
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(buffer_size, buffer_count)| {
            Request::OpenSession(OpenSession {
                buffer_size,
                buffer_count,
            })
        }),
        Just(Request::CloseSession(CloseSession::Short)),
        Just(Request::CloseSession(CloseSession::Long)),
        (up_to(MAX_PATH), any::<u32>(), any::<u32>()).prop_map(|(path, file_type, flags)| {
            Request::OpenFile(OpenFile {
                path,
                file_type,
                flags: OpenFlags(flags),
            })
        }),
        (any::<u64>(), any::<bool>())
            .prop_map(|(handle, long)| Request::CloseFile(CloseFile { handle, long })),
        io().prop_map(Request::Io),
        sizes.prop_map(|(send, receive, flag)| {
            Request::SetSocketOptions(SocketOptions {
                send,
                receive,
                flag,
            })
        }),
        (any::<u64>(), up_to(MAX_KEY))
            .prop_map(|(handle, key)| Request::DdbGet(DdbGet { handle, key })),
        (
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            0..=8 * MAX_BITMAP as u64
        )
            .prop_map(|(handle, chunk, start, count)| {
                Request::QueryBlocks(QueryBlocks {
                    handle,
                    chunk,
                    start,
                    count,
                })
            }),
        any::<u32>().prop_map(Request::SetResourcePool),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let opened = (any::<[u64; 3]>(), any::<[u32; 3]>(), any::<[u32; 3]>()).prop_map(
        |([status, handle, capacity], [file_type, flags, sector_size], geometry)| FileOpened {
            status,
            handle,
            file_type,
            flags,
            capacity,
            sector_size,
            geometry: Geometry {
                cylinders: geometry[0],
                heads: geometry[1],
                sectors: geometry[2],
            },
        },
    );
    prop_oneof![
        (any::<u32>(), any::<u32>(), up_to(MAX_TEXT))
            .prop_map(|(code, detail, text)| Reply::Error(ErrorReply { code, detail, text })),
        Just(Reply::SessionOpened),
        Just(Reply::CloseSession(CloseSession::Short)),
        opened.prop_map(Reply::FileOpened),
        io().prop_map(Reply::Io),
        up_to(MAX_VALUE).prop_map(|value| Reply::DdbValue(DdbValue { value })),
        (0..=8 * MAX_BITMAP as u64).prop_map(|count| Reply::Blocks(Bitmap::new(count).unwrap())),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        proptest::collection::vec(1u8.., 0..=MAX_NAME).prop_map(Frame::ClientRandom),
        any::<u32>().prop_map(|knows_version| Frame::ProbeReply { knows_version }),
        (any::<u32>(), any::<u32>())
            .prop_map(|(version, second)| Frame::Version { version, second }),
        (up_to(MAX_NAME), up_to(MAX_NAME))
            .prop_map(|(name, operation)| Frame::Connection { name, operation }),
        any::<u32>().prop_map(Frame::Features),
        (any::<u32>(), any::<u32>(), up_to(MAX_TEXT)).prop_map(|(kind, code, text)| Frame::Error {
            kind,
            code,
            text
        }),
        (100u32..).prop_map(Frame::Other),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(request in request(), operation: u32) {
        let bytes = request.encode(operation);
        let (header, payload) = bytes.split_first_chunk::<HEADER>().unwrap();
        let header = Header::decode(header).unwrap();
        prop_assert_eq!(header.size as usize, payload.len());
        prop_assert_eq!(header.operation, operation);
        prop_assert_eq!(Request::decode(header.kind, payload).unwrap(), request);
    }

    #[test]
    fn replies_come_back(reply in reply(), operation: u32) {
        let bytes = reply.encode(operation);
        let (header, payload) = bytes.split_first_chunk::<HEADER>().unwrap();
        let header = Header::decode(header).unwrap();
        prop_assert_eq!(Reply::decode(header.kind, payload).unwrap(), reply);
    }

    #[test]
    fn frames_come_back(frame in frame()) {
        prop_assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }

    /// What decodes announces no more than is accepted.
    #[test]
    fn any_payload_is_taken_or_refused(number in 0u32..24, payload in proptest::collection::vec(any::<u8>(), 0..70)) {
        let kind = Kind::from_number(number);
        prop_assert_eq!(kind.number(), number);
        if let Ok(request) = Request::decode(kind, &payload) {
            prop_assert!(request.extra() as usize <= MAX_EXTRA);
        }
        if let Ok(reply) = Reply::decode(kind, &payload) {
            prop_assert!(reply.extra() as usize <= MAX_EXTRA);
        }
    }

    #[test]
    fn any_header_is_taken_or_refused(bytes: [u8; HEADER]) {
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert!(header.size as usize <= MAX_PAYLOAD);
            prop_assert_eq!(header.encode(), bytes);
        }
    }

    #[test]
    fn any_frame_is_taken_or_refused(number in 0u32..60, rest: [u8; 32]) {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes[4..36].copy_from_slice(&rest);
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert!(frame.extra() as usize <= MAX_TEXT.max(2 * MAX_NAME));
            prop_assert_eq!(frame.number(), number);
        }
    }

    #[test]
    fn any_line_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(Some((line, taken))) = take_line(&bytes) {
            prop_assert!(taken > line.len() && taken <= bytes.len());
            let _ = Greeting::decode(line);
            let again = Command::decode(line).encode();
            prop_assert!(again.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn bitmaps_come_back(chunks in proptest::collection::vec(any::<bool>(), 0..200)) {
        let bitmap = Bitmap::new(chunks.len() as u64).unwrap();
        let single = (0u64..).zip(&chunks).filter(|(_, set)| **set).map(|(chunk, _)| chunk..chunk + 1);
        let bits = bitmap.pack(single);
        prop_assert_eq!(bits.len() % 4, 0);
        prop_assert_eq!(bits.len(), bitmap.extra() as usize);
        let ranges = bitmap.unpack(&bits);
        let mut seen = vec![false; chunks.len()];
        let mut after_last = None;
        for range in ranges {
            prop_assert!(range.start < range.end);
            prop_assert!(Some(range.start) > after_last);
            after_last = Some(range.end);
            for chunk in range {
                seen[usize::try_from(chunk).unwrap()] = true;
            }
        }
        prop_assert_eq!(seen, chunks);
    }
}
