use std::sync::{Arc, mpsc};

use vsphere_nfc::wire::aio::{Direction, Io, Reply, Request};
use vsphere_nfc::{Compression, ErrorKind, Sector};

use crate::host::{Host, Verdict, options, read};

fn pattern(seed: usize, sectors: usize) -> Vec<u8> {
    // Half of it is zero, so that all methods compress it.
    (0..sectors * 512)
        .map(|at| {
            if at % 64 < 32 {
                (at / 64 * 7 + seed) as u8
            } else {
                0
            }
        })
        .collect()
}

#[test]
fn every_compression_writes_the_same_bytes() {
    for compression in [
        Compression::None,
        Compression::Zlib,
        Compression::FastLz,
        Compression::SkipZ,
    ] {
        let host = Arc::new(Host::new(3000));
        let mut expected = host.data();
        let options = options()
            .writable(true)
            .compression(compression)
            .request_size(500_000)
            .buffer_size(64 << 10);
        let disk = host.open(&options).unwrap();
        for (start, count) in [(0, 1), (100, 129), (500, 2500), (7, 3)] {
            let data = pattern(start, count);
            disk.write_at(Sector::new(start as u64), &data).unwrap();
            expected[start * 512..(start + count) * 512].copy_from_slice(&data);
        }
        disk.flush().unwrap();
        assert!(host.data() == expected, "{compression:?}");
        assert!(read(&disk, 0, 3000).unwrap() == expected);
        disk.close().unwrap();
        assert_eq!(host.goodbyes(), 1);
    }
}

/// Parts of one write follow each other, whoever else writes.
#[test]
fn writes_are_never_mixed() {
    let host = Arc::new(Host::new(8 * 1024));
    let mut expected = host.data();
    let options = options()
        .writable(true)
        .request_size(256 << 10)
        .buffer_size(64 << 10);
    let disk = host.open(&options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            let disk = &disk;
            scope.spawn(move || {
                let data = pattern(thread, 1024);
                disk.write_at(Sector::new(thread as u64 * 1024), &data)
                    .unwrap();
            });
        }
    });
    for thread in 0..8 {
        let from = thread * 1024 * 512;
        expected[from..from + 1024 * 512].copy_from_slice(&pattern(thread, 1024));
    }
    assert!(host.data() == expected);
    let writes = host.writes.lock().unwrap();
    assert_eq!(writes.len(), 64);
    for request in writes.chunks(4) {
        let (operation, offset, _) = request[0];
        for (at, part) in request.iter().enumerate() {
            assert_eq!(*part, (operation, offset + at as u64 * 65536, 65536));
        }
    }
}

/// The host acknowledges nothing before the last write has come.
#[test]
fn writes_do_not_wait_for_each_other() {
    let host = Host::new(1000).script(|connection, message| {
        let Request::Io(io) = message.request else {
            return Ok(Verdict::Serve);
        };
        connection.take_part(message.operation, io, &message.extra);
        connection.held.push(message.clone());
        if connection.held.len() == 100 {
            for message in std::mem::take(&mut connection.held).into_iter().rev() {
                let Request::Io(io) = message.request else {
                    unreachable!()
                };
                let written = Reply::Io(Io::written(io.offset, io.total));
                connection.send(message.operation, written, &[])?;
            }
        }
        Ok(Verdict::Served)
    });
    let disk = host.open(&options().writable(true)).unwrap();
    let (sender, results) = mpsc::channel();
    for number in 0..100usize {
        let sender = sender.clone();
        let start = Sector::new(number as u64 * 10);
        disk.submit_write(start, pattern(number, 10), move |result, data| {
            assert_eq!(data, pattern(number, 10), "the buffer comes back");
            sender.send(result).unwrap();
        });
    }
    disk.flush().unwrap();
    assert_eq!(results.try_iter().filter(Result::is_ok).count(), 100);
    let expected: Vec<u8> = (0..100).flat_map(|number| pattern(number, 10)).collect();
    assert!(host.data() == expected);
}

#[test]
fn what_must_not_be_written_is_not_sent() {
    let host = Arc::new(Host::new(100));
    let before = host.data();
    let disk = host.open(&options()).unwrap();
    assert!(!disk.is_writable());
    let error = disk.write_at(Sector::new(0), &[1; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    disk.close().unwrap();
    let disk = host.open(&options().writable(true)).unwrap();
    for (start, length, kind) in [
        (0, 0, ErrorKind::InvalidArgument),
        (0, 511, ErrorKind::InvalidArgument),
        (99, 1024, ErrorKind::OutOfRange),
    ] {
        let error = disk
            .write_at(Sector::new(start), &vec![1; length])
            .unwrap_err();
        assert_eq!(error.kind(), kind);
        let (sender, result) = mpsc::channel();
        disk.submit_write(Sector::new(start), vec![1; length], move |result, _| {
            sender.send(result).unwrap();
        });
        assert_eq!(result.recv().unwrap().unwrap_err().kind(), kind);
    }
    disk.close().unwrap();
    assert!(host.data() == before);
    let flags: Vec<_> = host
        .flags
        .lock()
        .unwrap()
        .iter()
        .map(|flags| flags.0)
        .collect();
    assert_eq!(flags, [0x1e, 0x1a]);
}

/// Each part of a write that the host refuses may be refused by itself.
#[test]
fn a_refused_write_fails_alone() {
    let host = Host::new(1000).script(|connection, message| match message.request {
        Request::Io(io) if io.direction == Direction::Write && io.offset == 0 => {
            connection.refuse(message.operation, 13, "the datastore is full")?;
            Ok(Verdict::Served)
        }
        _ => Ok(Verdict::Serve),
    });
    let options = options().writable(true).buffer_size(64 << 10);
    let disk = host.open(&options).unwrap();
    let error = disk.write_at(Sector::new(0), &pattern(1, 400)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFault);
    disk.write_at(Sector::new(500), &pattern(2, 400)).unwrap();
    assert!(read(&disk, 500, 400).unwrap() == pattern(2, 400));
    disk.close().unwrap();
    assert_eq!(host.dials(), 1);
    assert_eq!(host.goodbyes(), 1);
}
