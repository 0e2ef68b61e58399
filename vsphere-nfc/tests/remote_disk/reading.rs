use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use vsphere_nfc::wire::aio::{Direction, Request};
use vsphere_nfc::{Compression, ErrorKind, Sector, SectorCount, SectorRange};

use crate::host::{Host, Verdict, options, read};

#[test]
fn every_compression_gives_the_same_bytes() {
    let host = Arc::new(Host::new(5000));
    let whole = host.data();
    for compression in [
        Compression::None,
        Compression::Zlib,
        Compression::FastLz,
        Compression::SkipZ,
    ] {
        let options = options()
            .compression(compression)
            .request_size(300_000)
            .buffer_size(64 << 10);
        let disk = host.open(&options).unwrap();
        assert_eq!(disk.capacity(), SectorCount::new(5000));
        assert_eq!(disk.geometry().heads, 2);
        assert!(read(&disk, 0, 5000).unwrap() == whole, "{compression:?}");
        assert!(read(&disk, 4999, 1).unwrap() == whole[4999 * 512..]);
        assert!(read(&disk, 129, 129).unwrap() == whole[129 * 512..258 * 512]);
        disk.close().unwrap();
    }
    assert_eq!(host.dials(), 4);
}

/// Answers all reads when there are six of them: the last first, and of each the last part first.
#[test]
fn requests_and_their_parts_may_come_in_any_order() {
    let host = Host::new(6 * 512).script(|connection, message| {
        let Request::Io(_) = message.request else {
            return Ok(Verdict::Serve);
        };
        connection.held.push(message.clone());
        if connection.held.len() == 6 {
            let held = std::mem::take(&mut connection.held);
            let mut parts = Vec::new();
            for message in &held {
                let Request::Io(io) = message.request else {
                    unreachable!()
                };
                for part in connection.parts(io) {
                    parts.push((message.operation, io, part));
                }
            }
            // Parts of one request between those of others.
            parts.sort_by_key(|(operation, _, (begin, _))| std::cmp::Reverse((*begin, *operation)));
            assert_eq!(parts.len(), 24);
            for (operation, io, part) in parts {
                connection.send_part(operation, io, part)?;
            }
        }
        Ok(Verdict::Served)
    });
    let options = options().request_size(256 << 10).buffer_size(64 << 10);
    let disk = host.open(&options).unwrap();
    assert!(read(&disk, 0, 6 * 512).unwrap() == host.data());
    disk.close().unwrap();
}

#[test]
fn submitted_reads_fill_the_callers_buffers() {
    let host = Arc::new(Host::new(2048));
    let whole = host.data();
    let disk = host.open(&options()).unwrap();
    let (sender, results) = mpsc::channel();
    for start in 0..64 {
        let sender = sender.clone();
        let buf = vec![0xA5; 32 * 512];
        let address = buf.as_ptr() as usize;
        disk.submit_read(Sector::new(start * 32), buf, move |result, buf| {
            assert_eq!(buf.as_ptr() as usize, address, "the same memory comes back");
            sender.send((start as usize, result, buf)).unwrap();
        });
    }
    disk.wait().unwrap();
    // Everything was called back before.
    let results: Vec<_> = results.try_iter().collect();
    assert_eq!(results.len(), 64);
    for (start, result, buf) in results {
        result.unwrap();
        let from = start * 32 * 512;
        assert!(buf == whole[from..from + buf.len()]);
    }
}

#[test]
fn many_threads_read_one_disk() {
    let host = Arc::new(Host::new(4096));
    let whole = host.data();
    let disk = host.open(&options().buffer_size(64 << 10)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            let (disk, whole) = (&disk, &whole);
            scope.spawn(move || {
                for round in 0..20usize {
                    let start = (thread * 509 + round * 97) % 3000;
                    let count = 1 + (round * 31 + thread) % 1000;
                    let data = read(disk, start as u64, count).unwrap();
                    assert!(data == whole[start * 512..(start + count) * 512]);
                }
            });
        }
    });
    assert_eq!(host.dials(), 1);
}

#[test]
fn what_cannot_be_read_is_not_asked_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let host = Host::new(100).script(move |_, message| {
        if matches!(message.request, Request::Io(io) if io.direction == Direction::Read) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options()).unwrap();
    let kind = |start, length: usize| {
        let mut buf = vec![1; length];
        let error = disk.read_at(Sector::new(start), &mut buf).unwrap_err();
        assert!(buf.iter().all(|byte| *byte == 1));
        error.kind()
    };
    assert_eq!(kind(0, 0), ErrorKind::InvalidArgument);
    assert_eq!(kind(0, 100), ErrorKind::InvalidArgument);
    assert_eq!(kind(0, 513), ErrorKind::InvalidArgument);
    assert_eq!(kind(100, 512), ErrorKind::OutOfRange);
    assert_eq!(kind(99, 1024), ErrorKind::OutOfRange);
    assert_eq!(kind(u64::MAX, 512), ErrorKind::OutOfRange);
    assert_eq!(kind(u64::MAX / 512, 512), ErrorKind::OutOfRange);
    let (sender, result) = mpsc::channel();
    disk.submit_read(Sector::new(100), vec![0; 512], move |result, buf| {
        sender.send((result, buf)).unwrap();
    });
    let (result, buf) = result.recv().unwrap();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(buf.len(), 512);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    read(&disk, 99, 1).unwrap();
}

#[test]
fn errors_say_what_was_read() {
    let host = Host::new(100).script(|connection, message| match message.request {
        Request::Io(_) => {
            connection.refuse(message.operation, 13, "a bad\nblock")?;
            Ok(Verdict::Served)
        }
        _ => Ok(Verdict::Serve),
    });
    let disk = host.open(&options()).unwrap();
    let error = read(&disk, 8, 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reading sectors 8..16 of [datastore1] vm/vm.vmdk failed: a bad block (NFC error 13)"
    );
    assert_eq!(error.kind(), ErrorKind::DiskFault);
    assert_eq!(error.code(), Some(13));
    disk.close().unwrap();
    assert_eq!(host.goodbyes(), 1, "the connection was good to the end");
}

#[test]
fn callbacks_cannot_use_the_disk() {
    let host = Arc::new(Host::new(100));
    let disk = Arc::new(host.open(&options()).unwrap());
    let (sender, result) = mpsc::channel();
    let inner = Arc::clone(&disk);
    disk.submit_read(Sector::new(0), vec![0; 512], move |_, _| {
        let kinds = [
            read(&inner, 0, 1).map(drop),
            inner.wait(),
            inner.ddb("uuid").map(drop),
        ];
        // It may be the last one to have the disk, too.
        drop(inner);
        sender
            .send(kinds.map(|result| result.unwrap_err().kind()))
            .unwrap();
    });
    assert_eq!(result.recv().unwrap(), [ErrorKind::InvalidArgument; 3]);
}

#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let host = Arc::new(Host::new(1000));
    let disk = host.open(&options()).unwrap();
    disk.submit_read(Sector::new(0), vec![0; 512], |_, _| panic!("on purpose"));
    disk.wait().unwrap();
    assert!(read(&disk, 0, 1000).unwrap() == host.data());
    disk.close().unwrap();
    assert_eq!((host.dials(), host.goodbyes()), (1, 1));
}

#[test]
fn the_disk_database_and_what_is_allocated() {
    let host = Arc::new(Host::new(1000));
    host.data.lock().unwrap()[128 * 512..384 * 512].fill(0);
    let disk = host.open(&options()).unwrap();
    assert_eq!(
        disk.ddb("adapterType").unwrap().as_deref(),
        Some("lsilogic")
    );
    assert_eq!(disk.ddb("none").unwrap(), None);
    let values = disk.ddb_values(&["uuid", "x", "adapterType"]).unwrap();
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    assert_eq!(values, [Some("60 00 C2 9a"), None, Some("lsilogic")]);
    let long = "x".repeat(2000);
    assert_eq!(
        disk.ddb(&long).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );

    let range =
        |start, count| SectorRange::new(Sector::new(start), SectorCount::new(count)).unwrap();
    let chunk = SectorCount::new(128);
    let all = disk.allocated(range(0, 896), chunk).unwrap();
    assert_eq!(all, [range(0, 128), range(384, 512)]);
    assert_eq!(disk.allocated(range(128, 256), chunk).unwrap(), []);
    // Every eighth sector is zero.
    let single = disk.allocated(range(0, 16), SectorCount::new(1)).unwrap();
    assert_eq!(single, [range(0, 7), range(8, 7)]);
    for bad in [range(1, 127), range(0, 127), range(0, 0)] {
        let error = disk.allocated(bad, chunk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
    }
    let error = disk
        .allocated(range(0, 8), SectorCount::new(0))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = disk.allocated(range(896, 128), chunk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
}
