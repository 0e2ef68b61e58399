//! Messages and data of a hostile host or client, and what must hold of them.
//!
//! `wire`: the first byte of an input chooses a parser, the rest is what it gets. What was understood says the same after
//! it was written and read again, and announces no more than is accepted. `compress`: the first byte chooses a method and
//! a direction, the next two a length; the rest is data. What was compressed comes back, and nothing else is taken for a
//! piece of another length.

use vsphere_nfc::Compression;
use vsphere_nfc::wire::aio::{HEADER, Header, Kind, MAX_EXTRA, MAX_PAYLOAD, Reply, Request};
use vsphere_nfc::wire::authd::{self, Command, Greeting, MAX_LINE, take_line};
use vsphere_nfc::wire::classic::{FRAME, Frame};

/// Gives an input to the parser that it asks for.
pub fn wire(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 => line(bytes),
        1 => frame(bytes),
        2 => message(bytes, |kind, payload| {
            let request = Request::decode(kind, payload).ok()?;
            Some((request.extra(), request.encode(7), request.kind()))
        }),
        _ => message(bytes, |kind, payload| {
            let reply = Reply::decode(kind, payload).ok()?;
            Some((reply.extra(), reply.encode(7), reply.kind()))
        }),
    }
}

fn line(bytes: &[u8]) {
    let Ok(Some((line, taken))) = take_line(bytes) else {
        return;
    };
    assert!(taken <= MAX_LINE && taken <= bytes.len() && line.len() < taken);
    if let Ok(greeting) = Greeting::decode(line) {
        let _ = (greeting.announces_sha256(), greeting.requires_ssl());
    }
    if let Ok(reply) = authd::Reply::decode(line) {
        let again = reply.encode();
        let (line, _) = take_line(&again).expect("short").expect("whole");
        assert_eq!(authd::Reply::decode(line).as_ref(), Ok(&reply));
    }
    let command = Command::decode(line);
    let again = command.encode();
    if again.len() <= MAX_LINE {
        let (line, _) = take_line(&again).expect("short").expect("whole");
        assert_eq!(Command::decode(line), command);
    }
}

fn frame(bytes: &[u8]) {
    let mut whole = [0; FRAME];
    let length = bytes.len().min(FRAME);
    whole[..length].copy_from_slice(&bytes[..length]);
    let Ok(frame) = Frame::decode(&whole) else {
        return;
    };
    assert!(frame.extra() <= 64 << 10);
    assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
}

/// `decode` gives what follows a message, the message again, and its kind.
fn message(bytes: &[u8], decode: impl Fn(Kind, &[u8]) -> Option<(u32, Vec<u8>, Kind)>) {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
        return;
    };
    let Ok(header) = Header::decode(header) else {
        return;
    };
    assert!(header.size as usize <= MAX_PAYLOAD);
    assert_eq!(Kind::from_number(header.kind.number()), header.kind);
    let Some((extra, again, kind)) = decode(header.kind, payload) else {
        return;
    };
    assert!(extra as usize <= MAX_EXTRA);
    assert_eq!(kind, header.kind);
    let (_, payload) = again.split_first_chunk::<HEADER>().expect("a header");
    if !matches!(kind, Kind::Other(_) | Kind::GetFileInfo | Kind::Error) || !payload.is_empty() {
        assert_eq!(decode(kind, payload), Some((extra, again.clone(), kind)));
    }
}

/// Compresses or decompresses an input.
pub fn compress(input: &[u8]) {
    let [choice, low, high, data @ ..] = input else {
        return;
    };
    let method = Compression::from_number(u32::from(choice & 3)).expect("there are four");
    if choice & 4 == 0 {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let mut into = vec![0xA5; length];
        let mut other = vec![0x5A; length];
        let result = method.decompress(data, &mut into);
        // Nothing of what was there before is left.
        assert_eq!(method.decompress(data, &mut other), result);
        if result.is_ok() {
            assert_eq!(into, other);
        }
        return;
    }
    let mut small = Vec::new();
    if method.compress(data, &mut small) {
        assert!(small.len() < data.len());
        let mut back = vec![0xA5; data.len()];
        method
            .decompress(&small, &mut back)
            .expect("what was compressed can be decompressed");
        assert_eq!(back, data);
        // A piece of the length of its compressed bytes may be one that says it is compressed but is not.
        if small.len() != data.len() - 1 {
            assert!(method.decompress(&small, &mut back[1..]).is_err());
        }
    }
}

/// Inputs of [`wire`] to begin with, by name.
#[must_use]
pub fn wire_seeds() -> Vec<(&'static str, Vec<u8>)> {
    use vsphere_nfc::wire::aio::{
        Bitmap, CloseFile, DdbGet, DdbValue, ErrorReply, FileOpened, Io, OpenFile, OpenFlags,
        OpenSession, QueryBlocks, SocketOptions,
    };
    let io = Io::read(9, 3, 65536, 66048);
    let requests = [
        (
            "open_session",
            Request::OpenSession(OpenSession {
                buffer_size: 65536,
                buffer_count: 4,
            }),
        ),
        (
            "open_file",
            Request::OpenFile(OpenFile {
                path: 13,
                file_type: 2,
                flags: OpenFlags::FOR_READING,
            }),
        ),
        (
            "close_file",
            Request::CloseFile(CloseFile {
                handle: 9,
                long: true,
            }),
        ),
        ("read", Request::Io(io)),
        ("ddb_get", Request::DdbGet(DdbGet { handle: 9, key: 11 })),
        (
            "query_blocks",
            Request::QueryBlocks(QueryBlocks {
                handle: 9,
                chunk: 65536,
                start: 0,
                count: 16,
            }),
        ),
    ];
    let replies = [
        (
            "error",
            Reply::Error(ErrorReply {
                code: 11,
                detail: 0,
                text: 23,
            }),
        ),
        (
            "opened",
            Reply::FileOpened(FileOpened {
                handle: 9,
                file_type: 2,
                capacity: 10 << 30,
                ..FileOpened::default()
            }),
        ),
        (
            "part",
            Reply::Io(Io {
                handle_or_status: 0,
                part: 65536,
                length: 512,
                sent: 512,
                ..io
            }),
        ),
        ("written", Reply::Io(Io::written(0, 66048))),
        (
            "socket_options",
            Reply::SetSocketOptions(SocketOptions::OF_ESXI),
        ),
        ("value", Reply::DdbValue(DdbValue { value: 8 })),
        (
            "blocks",
            Reply::Blocks(Bitmap::new(16).expect("16 chunks are few")),
        ),
    ];
    let frames = [
        ("tag", Frame::ClientRandom(b"PlainText".to_vec())),
        (
            "version",
            Frame::Version {
                version: 11,
                second: 0,
            },
        ),
        (
            "connection",
            Frame::Connection {
                name: 4,
                operation: 7,
            },
        ),
        (
            "classic_error",
            Frame::Error {
                kind: 1,
                code: 2,
                text: 3,
            },
        ),
    ];
    let lines = [
        ("greeting", Greeting::of_esxi().encode()),
        ("session", Command::Session("52c0-1f").encode()),
        ("banner", Command::Banner.encode()),
        ("connected", b"200 Connect ha-nfcssl\r\n".to_vec()),
    ];
    let chosen = |choice: u8, bytes: &[u8]| [&[choice], bytes].concat();
    let lines = lines.iter().map(|(name, line)| (*name, chosen(0, line)));
    let frames = frames
        .iter()
        .map(|(name, frame)| (*name, chosen(1, &frame.encode()[..32])));
    let requests = requests
        .iter()
        .map(|(name, request)| (*name, chosen(2, &request.encode(4))));
    let replies = replies
        .iter()
        .map(|(name, reply)| (*name, chosen(3, &reply.encode(4))));
    lines.chain(frames).chain(requests).chain(replies).collect()
}

/// Inputs of [`compress`] to begin with, by name.
#[must_use]
pub fn compress_seeds() -> Vec<(String, Vec<u8>)> {
    let mut data = b"to be or not to be, that is the question. ".repeat(20);
    data.extend([0; 300]);
    data.extend(b"to be or not");
    let mut seeds = Vec::new();
    for number in 1..4u8 {
        let method = Compression::from_number(number.into()).expect("there are four");
        let mut small = Vec::new();
        assert!(method.compress(&data, &mut small), "{method:?}");
        let length = u16::try_from(data.len())
            .expect("it is short")
            .to_le_bytes();
        let name = format!("{method:?}").to_lowercase();
        seeds.push((
            format!("{name}_back"),
            [&[number], &length[..], &small].concat(),
        ));
        seeds.push((name, [&[number | 4, 0, 0], &data[..]].concat()));
    }
    // FastLZ of level 2: 1 literal, then matches with an extension and a far distance.
    seeds.push((
        "fastlz_2".to_owned(),
        vec![2, 0, 1, 0x20, b'x', 0xe0, 0xff, 0x00, 0x00],
    ));
    seeds
}
