//! Messages as the bytes that were agreed upon, in both directions.

use super::aio::{
    Bitmap, CloseFile, CloseSession, DdbGet, DdbValue, Direction, ErrorReply, FILE_TYPE_DISK,
    FileOpened, Geometry, HEADER, Header, Io, Kind, OpenFile, OpenFlags, OpenSession, QueryBlocks,
    Reply, Request, SocketOptions,
};
use super::classic::{FRAME, Frame};

const HANDLE: u64 = 0x1122_3344_5566_7788;
const HANDLE_BYTES: &str = "88 77 66 55 44 33 22 11";

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect()
}

fn zeroes(count: usize) -> String {
    " 00".repeat(count)
}

fn frame(frame: &Frame, begin: &str) {
    let mut bytes = hex(begin);
    bytes.resize(FRAME, 0);
    assert_eq!(frame.encode().as_slice(), bytes, "{frame:?}");
    let bytes: [u8; FRAME] = bytes.try_into().unwrap();
    assert_eq!(&Frame::decode(&bytes).unwrap(), frame);
}

#[test]
fn classic_frames() {
    let tag = b"PlainText".to_vec();
    frame(
        &Frame::ClientRandom(tag),
        "2b 00 00 00 50 6c 61 69 6e 54 65 78 74",
    );
    frame(&Frame::Probe, "21");
    frame(
        &Frame::ProbeReply { knows_version: 1 },
        "24 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
    );
    let version = Frame::Version {
        version: 11,
        second: 0,
    };
    frame(&version, "33 00 00 00 0b");
    let connection = Frame::Connection {
        name: 4,
        operation: 7,
    };
    frame(&connection, "36 00 00 00 04 00 00 00 07");
    assert_eq!(connection.extra(), 11);
    frame(&Frame::Features(3), "37 00 00 00 03");
    frame(&Frame::OpenAio, "34");
    frame(&Frame::SessionComplete, "04");
    let error = Frame::Error {
        kind: 1,
        code: 2,
        text: 3,
    };
    frame(&error, "14 00 00 00 01 00 00 00 02 00 00 00 03");
    frame(&Frame::Ping, "08");
    frame(&Frame::Other(21), "15");
}

fn split(message: &str) -> (Header, Vec<u8>) {
    let bytes = hex(message);
    let (header, payload) = bytes.split_first_chunk::<HEADER>().unwrap();
    let header = Header::decode(header).unwrap();
    assert_eq!(header.size as usize, payload.len(), "{message}");
    (header, payload.to_vec())
}

fn request(request: Request, operation: u32, message: &str) {
    assert_eq!(request.encode(operation), hex(message), "{request:?}");
    let (header, payload) = split(message);
    assert_eq!(header.operation, operation);
    assert_eq!(Request::decode(header.kind, &payload).unwrap(), request);
}

/// Compares with the payload alone.
fn reply(reply: Reply, payload: &str) {
    let payload = hex(payload);
    assert_eq!(reply.encode(5)[HEADER..], payload, "{reply:?}");
    assert_eq!(Reply::decode(reply.kind(), &payload).unwrap(), reply);
}

#[test]
fn beginning_a_session() {
    request(
        Request::OpenSession(OpenSession {
            buffer_size: 65536,
            buffer_count: 4,
        }),
        0,
        "7a da 00 a1 02 00 00 00 10 00 00 00 00 00 00 00 \
         00 00 00 00 00 00 01 00 04 00 00 00 00 00 00 00",
    );
    reply(Reply::SessionOpened, &zeroes(16));
    request(
        Request::SetSocketOptions(SocketOptions::default()),
        1,
        &format!(
            "7a da 00 a1 09 00 00 00 0c 00 00 00 01 00 00 00 {}",
            zeroes(12)
        ),
    );
    reply(
        Reply::SetSocketOptions(SocketOptions::OF_ESXI),
        "f8 8e 19 00 f8 8e 19 00 01 00 00 00",
    );
    request(
        Request::SetResourcePool(1),
        2,
        "7a da 00 a1 16 00 00 00 04 00 00 00 02 00 00 00 01 00 00 00",
    );
    reply(Reply::SetResourcePool(1), "01 00 00 00");
}

#[test]
fn opening_a_disk() {
    let open = Request::OpenFile(OpenFile {
        path: 13,
        file_type: FILE_TYPE_DISK,
        flags: OpenFlags::FOR_READING,
    });
    assert_eq!(open.extra(), 13);
    request(
        open,
        3,
        &format!(
            "7a da 00 a1 04 00 00 00 3c 00 00 00 03 00 00 00 0d 00 00 00 {} 02 00 00 00 1e 00 00 00 {}",
            zeroes(12),
            zeroes(36)
        ),
    );
    let opened = FileOpened {
        status: 0,
        handle: HANDLE,
        file_type: FILE_TYPE_DISK,
        flags: OpenFlags::FOR_READING.0,
        capacity: 10 << 30,
        sector_size: 512,
        geometry: Geometry {
            cylinders: 1305,
            heads: 255,
            sectors: 63,
        },
    };
    reply(
        Reply::FileOpened(opened),
        &format!(
            "00 00 00 00 00 00 00 00 {HANDLE_BYTES} 02 00 00 00 1e 00 00 00 00 00 00 00 00 00 00 80 02 \
             00 00 00 00 02 00 00 19 05 00 00 ff 00 00 00 3f 00 00 00 {}",
            zeroes(8)
        ),
    );
}

#[test]
fn reading_129_sectors() {
    request(
        Request::Io(Io::read(HANDLE, 0, 0, 66048)),
        4,
        &format!(
            "7a da 00 a1 07 00 00 00 2c 00 00 00 04 00 00 00 {HANDLE_BYTES} 01 00 00 00 00 00 00 00 00 00 00 \
             00 00 00 00 00 00 02 01 00 00 00 00 00 00 02 01 00 00 02 01 00 00 00 00 00"
        ),
    );
    let first = Io {
        handle_or_status: 0,
        length: 65536,
        sent: 65536,
        ..Io::read(HANDLE, 0, 0, 66048)
    };
    assert_eq!(first.reply_extra(), 65536);
    reply(
        Reply::Io(first),
        "00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02 01 00 00 00 00 00 \
         00 00 01 00 00 00 01 00 00 00 00 00",
    );
    let second = Io {
        part: 65536,
        length: 512,
        sent: 512,
        ..first
    };
    reply(
        Reply::Io(second),
        "00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02 01 00 00 00 01 00 \
         00 02 00 00 00 02 00 00 00 00 00 00",
    );
}

#[test]
fn writing_129_sectors() {
    let second = Io {
        handle_or_status: HANDLE,
        part: 65536,
        length: 512,
        sent: 512,
        ..Io::written(0, 66048)
    };
    assert_eq!(second.direction, Direction::Write);
    assert_eq!(second.request_extra(), 512);
    request(
        Request::Io(second),
        7,
        &format!(
            "7a da 00 a1 07 00 00 00 2c 00 00 00 07 00 00 00 {HANDLE_BYTES} 00 00 00 00 00 00 00 00 00 00 00 \
             00 00 00 00 00 00 02 01 00 00 00 01 00 00 02 00 00 00 02 00 00 00 00 00 00"
        ),
    );
    let written = Io::written(0, 66048);
    assert_eq!(written.reply_extra(), 0);
    reply(
        Reply::Io(written),
        &format!(
            "{} 00 02 01 00 00 00 00 00 00 02 01 00 00 02 01 00 00 00 00 00",
            zeroes(24)
        ),
    );
}

#[test]
fn the_disk_database() {
    let get = DdbGet {
        handle: HANDLE,
        key: 11,
    };
    request(
        Request::DdbGet(get),
        8,
        &format!(
            "7a da 00 a1 0b 00 00 00 10 00 00 00 08 00 00 00 {HANDLE_BYTES} 0b 00 00 00 00 00 00 00"
        ),
    );
    reply(
        Reply::DdbValue(DdbValue { value: 8 }),
        &format!("{} 08 00 00 00", zeroes(12)),
    );
}

#[test]
fn allocated_blocks() {
    let query = QueryBlocks {
        handle: HANDLE,
        chunk: 64 << 10,
        start: 512 << 10,
        count: 16,
    };
    request(
        Request::QueryBlocks(query),
        8,
        &format!(
            "7a da 00 a1 0d 00 00 00 30 00 00 00 08 00 00 00 {HANDLE_BYTES} {} 00 00 01 00 00 00 00 00 \
             00 00 08 00 00 00 00 00 10 00 00 00 00 00 00 00 {}",
            zeroes(8),
            zeroes(8)
        ),
    );
    let bitmap = Bitmap::new(16).unwrap();
    reply(
        Reply::Blocks(bitmap),
        &format!("{} 10 00 00 00 00 00 00 00 {}", zeroes(32), zeroes(8)),
    );
    assert_eq!(bitmap.extra(), 4);
    let bits = bitmap.pack([0..2, 3..4, 15..99]);
    assert_eq!(bits, hex("0b 80 00 00"));
    assert_eq!(bitmap.unpack(&bits), [0..2, 3..4, 15..16]);
    assert_eq!(Bitmap::new(16384).unwrap().extra(), 2048);
    assert!(Bitmap::new(512 * 1024).is_ok());
    assert!(Bitmap::new(512 * 1024 + 1).is_err());
}

#[test]
fn a_refusal() {
    let text = b"permission check failed";
    let error = Reply::Error(ErrorReply {
        code: 11,
        detail: 0,
        text: 23,
    });
    assert_eq!(error.extra() as usize, text.len());
    assert_eq!(
        error.encode(3),
        hex("7a da 00 a1 01 00 00 00 10 00 00 00 03 00 00 00 \
             0b 00 00 00 00 00 00 00 00 00 00 00 17 00 00 00")
    );
    let (header, payload) = split(
        "7a da 00 a1 01 00 00 00 10 00 00 00 03 00 00 00 0b 00 00 00 00 00 00 00 00 00 00 00 17 00 00 00",
    );
    assert_eq!(Reply::decode(header.kind, &payload).unwrap(), error);
    assert!(Reply::decode(Kind::Error, &payload[..12]).is_err());
}

#[test]
fn closing() {
    request(
        Request::CloseFile(CloseFile {
            handle: HANDLE,
            long: false,
        }),
        9,
        &format!("7a da 00 a1 05 00 00 00 08 00 00 00 09 00 00 00 {HANDLE_BYTES}"),
    );
    request(
        Request::CloseSession(CloseSession::Short),
        10,
        "7a da 00 a1 03 00 00 00 04 00 00 00 0a 00 00 00 00 00 00 00",
    );
    let long = CloseFile {
        handle: HANDLE,
        long: true,
    };
    reply(
        Reply::CloseFile(long),
        &format!("{HANDLE_BYTES} {}", zeroes(8)),
    );
    reply(Reply::CloseSession(CloseSession::Long), &zeroes(16));
}

#[test]
fn headers_are_checked() {
    let mut bytes: [u8; HEADER] = hex("7a da 00 a1 07 00 00 00 2c 00 00 00 04 00 00 00")
        .try_into()
        .unwrap();
    assert_eq!(
        Header::decode(&bytes).unwrap(),
        Header {
            kind: Kind::Io,
            size: 44,
            operation: 4
        }
    );
    bytes[10] = 1;
    assert!(Header::decode(&bytes).is_err(), "a payload of 64 KiB + 44");
    bytes[10] = 0;
    bytes[0] = 0x7b;
    assert!(Header::decode(&bytes).is_err(), "another mark");
}
