//! Hosts that break the protocol: nothing wrong is ever taken for data, and everything in flight fails.

use std::io::{self, Write};
use std::sync::mpsc;

use vsphere_nfc::wire::aio::{Bitmap, CloseFile, Direction, Io, Kind, Reply, Request};
use vsphere_nfc::{Compression, ErrorKind, Sector, SectorCount, SectorRange};

use crate::host::{Connection, HANDLE, Host, Verdict, options, read};

type Fault = fn(&mut Connection, u32, Io) -> io::Result<()>;

/// What a read of 200 KiB gets instead of its data; the rest of it would follow. The buffers have 64 KiB.
const FAULTS: &[(&str, Fault)] = &[
    ("a part twice", |host, operation, io| {
        host.send_part(operation, io, (0, 65536))?;
        host.send_part(operation, io, (0, 65536))
    }),
    ("a part that overlaps another", |host, operation, io| {
        host.send_part(operation, io, (65536, 65536))?;
        host.send_part(operation, io, (131_072 - 512, 512))
    }),
    ("a part without length", |host, operation, io| {
        host.send_part(operation, io, (0, 0))
    }),
    ("a part past the end", |host, operation, io| {
        host.send_part(operation, io, (io.total - 512, 1024))
    }),
    ("a part far past the end", |host, operation, io| {
        part(host, operation, io, |io| io.part = u32::MAX - 100)
    }),
    (
        "a part of another place on the disk",
        |host, operation, io| part(host, operation, io, |io| io.offset += 512),
    ),
    (
        "a part of a request of another length",
        |host, operation, io| part(host, operation, io, |io| io.total -= 512),
    ),
    ("an unknown compression", |host, operation, io| {
        part(host, operation, io, |io| io.compression = 4)
    }),
    ("two lengths", |host, operation, io| {
        part(host, operation, io, |io| io.sent -= 512)
    }),
    ("a status", |host, operation, io| {
        part(host, operation, io, |io| io.handle_or_status = 13)
    }),
    ("another operation", |host, operation, io| {
        host.send_part(operation + 100, io, (0, 65536))
    }),
    ("an acknowledged write", |host, operation, io| {
        let written = Reply::Io(Io::written(io.offset, io.total));
        host.send(operation, written, &[])
    }),
    ("an answer of another kind", |host, operation, _| {
        let closed = CloseFile {
            handle: HANDLE,
            long: false,
        };
        host.send(operation, Reply::CloseFile(closed), &[])
    }),
    ("bad zlib", |host, operation, io| {
        compressed(
            host,
            operation,
            io,
            1,
            &[0x78, 0x01, 0xff, 0xff, 0xff, 0xff],
        )
    }),
    ("zlib of another length", |host, operation, io| {
        let mut short = Vec::new();
        assert!(Compression::Zlib.compress(&[7; 512], &mut short));
        compressed(host, operation, io, 1, &short)
    }),
    ("bad FastLZ", |host, operation, io| {
        compressed(host, operation, io, 2, &[0, b'x', 1 << 5, 200])
    }),
    ("a SkipZ run past the end", |host, operation, io| {
        let run = [0, 0, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 2, 0, 0, 0, 1, 1];
        compressed(host, operation, io, 3, &run)
    }),
    ("another mark", |host, operation, io| {
        let mut bytes = Reply::Io(io).encode(operation);
        bytes[0] ^= 1;
        host.stream.write_all(&bytes)
    }),
    ("a message of an unknown kind", |host, operation, _| {
        host.send(operation, Reply::Other(Kind::Other(99)), &[])
    }),
    ("a payload that is too short", |host, operation, io| {
        let mut bytes = Reply::Io(io).encode(operation);
        bytes[8] = 40;
        host.stream.write_all(&bytes[..56])
    }),
    ("a payload that is too long", |host, operation, io| {
        let mut bytes = Reply::Io(io).encode(operation);
        bytes[10] = 2;
        host.stream.write_all(&bytes)
    }),
    ("more data than any buffer holds", |host, operation, io| {
        part(host, operation, io, |io| {
            io.length = 3 << 20;
            io.sent = io.length;
        })
    }),
];

/// The first part, changed.
fn part(host: &mut Connection, operation: u32, io: Io, change: impl Fn(&mut Io)) -> io::Result<()> {
    let (mut reply, extra) = host.part(io, (0, 65536));
    change(&mut reply);
    host.send(operation, Reply::Io(reply), &extra)
}

/// The first part, with these bytes for its data.
fn compressed(
    host: &mut Connection,
    operation: u32,
    io: Io,
    compression: u32,
    extra: &[u8],
) -> io::Result<()> {
    let reply = Io {
        handle_or_status: 0,
        compression,
        length: 65536,
        sent: extra.len() as u32,
        ..io
    };
    host.send(operation, Reply::Io(reply), extra)
}

#[test]
fn nothing_wrong_is_taken_for_data() {
    for (name, fault) in FAULTS {
        let host = Host::new(1000).script(move |connection, message| {
            let Request::Io(io) = message.request else {
                return Ok(Verdict::Serve);
            };
            if connection.number > 0 {
                return Ok(Verdict::Serve);
            }
            // Another request is in flight when it happens.
            connection.held.push(message.clone());
            if connection.held.len() == 2 {
                let _ = fault(connection, message.operation, io);
                // The client hangs up, whatever would come.
                assert!(matches!(connection.receive(), Err(_) | Ok(None)), "{name}");
                return Ok(Verdict::HangUp);
            }
            Ok(Verdict::Served)
        });
        let disk = host.open(&options().buffer_size(64 << 10)).unwrap();
        let (sender, results) = mpsc::channel();
        for start in [0, 400] {
            let sender = sender.clone();
            disk.submit_read(Sector::new(start), vec![0; 400 * 512], move |result, _| {
                sender.send(result).unwrap();
            });
        }
        for _ in 0..2 {
            let error = results.recv().unwrap().expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error}");
        }
        assert_eq!(host.dials(), 1, "{name}: nothing is repeated");
        // The next request has a new connection.
        assert!(read(&disk, 0, 1000).unwrap() == host.data(), "{name}");
        disk.close().unwrap();
        assert_eq!(host.dials(), 2, "{name}");
        assert_eq!(host.goodbyes(), 1, "{name}");
    }
}

#[test]
fn a_failed_request_leaves_the_buffer_alone() {
    let host = Host::new(1000).script(|connection, message| {
        if let Request::Io(io) = message.request {
            connection.send_part(message.operation, io, (0, 65536))?;
            connection.send_part(message.operation, io, (0, 65536))?;
            return Ok(Verdict::Served);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options().buffer_size(64 << 10)).unwrap();
    let mut data = vec![0xA5; 400 * 512];
    disk.read_at(Sector::new(0), &mut data).unwrap_err();
    assert!(data.iter().all(|byte| *byte == 0xA5));
}

#[test]
fn writes_are_acknowledged_as_they_were_sent() {
    type Change = fn(&mut Io);
    let changes: [Change; 3] = [
        |io| io.offset += 512,
        |io| io.total -= 512,
        |io| io.direction = Direction::Read,
    ];
    for change in changes {
        let host = Host::new(1000).script(move |connection, message| {
            if let Request::Io(io) = message.request {
                let mut written = Io::written(io.offset, io.total);
                change(&mut written);
                connection.send(message.operation, Reply::Io(written), &[0; 1024])?;
                return Ok(Verdict::Served);
            }
            Ok(Verdict::Serve)
        });
        let disk = host.open(&options().writable(true)).unwrap();
        let error = disk.write_at(Sector::new(0), &[1; 1024]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let error = disk.write_at(Sector::new(0), &[1; 1024]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }
}

#[test]
fn a_bitmap_of_another_length_is_none() {
    let host = Host::new(1000).script(|connection, message| {
        if let Request::QueryBlocks(query) = message.request {
            let bitmap = Bitmap::new(query.count + 1).unwrap();
            connection.send(message.operation, Reply::Blocks(bitmap), &[0xff; 4])?;
            return Ok(Verdict::Served);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options()).unwrap();
    let range = SectorRange::whole(SectorCount::new(896));
    let error = disk.allocated(range, SectorCount::new(128)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

/// An ERROR for a request may be followed by the normal reply.
#[test]
fn late_replies_to_what_was_refused_are_passed_over() {
    let host = Host::new(1000).script(|connection, message| {
        let operation = message.operation;
        match message.request {
            // Also in the midst of its data.
            Request::Io(io) if io.direction == Direction::Read && io.offset == 0 => {
                connection.send_part(operation, io, (0, 65536))?;
                connection.refuse(operation, 13, "no")?;
                connection.refuse(operation, 13, "and no")?;
                connection.send_part(operation, io, (65536, 65536))?;
                Ok(Verdict::Served)
            }
            Request::Io(io) if io.direction == Direction::Write && io.offset == 0 => {
                connection.refuse(operation, 13, "no")?;
                connection.send(operation, Reply::Io(Io::written(0, io.total)), &[])?;
                Ok(Verdict::Served)
            }
            Request::DdbGet(_) => {
                connection.refuse(operation, 13, "no")?;
                Ok(Verdict::Serve)
            }
            _ => Ok(Verdict::Serve),
        }
    });
    let disk = host
        .open(&options().writable(true).buffer_size(64 << 10))
        .unwrap();
    for _ in 0..3 {
        assert_eq!(
            read(&disk, 0, 400).unwrap_err().kind(),
            ErrorKind::DiskFault
        );
        let error = disk.write_at(Sector::new(0), &[1; 512]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFault);
        assert_eq!(disk.ddb("uuid").unwrap_err().kind(), ErrorKind::DiskFault);
        assert!(read(&disk, 8, 400).unwrap() == host.data()[8 * 512..408 * 512]);
    }
    disk.close().unwrap();
    assert_eq!((host.dials(), host.goodbyes()), (1, 1));
}

#[test]
fn more_late_data_than_was_asked_for_is_too_much() {
    let host = Host::new(1000).script(|connection, message| {
        if let Request::Io(io) = message.request
            && connection.number == 0
        {
            connection.refuse(message.operation, 13, "no")?;
            connection.send_part(message.operation, io, (0, 1024))?;
            connection.send_part(message.operation, io, (0, 512))?;
            return Ok(Verdict::Served);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options()).unwrap();
    assert_eq!(read(&disk, 0, 2).unwrap_err().kind(), ErrorKind::DiskFault);
    // The connection ends, sooner or later.
    while host.dials() == 1 {
        let _ = read(&disk, 0, 8);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(read(&disk, 0, 8).unwrap() == host.data()[..8 * 512]);
}
