//! Connections that are lost.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use vsphere_nfc::wire::aio::{Direction, Kind, Reply, Request};
use vsphere_nfc::{ErrorKind, RemoteDisk, Sector, SectorCount, SectorRange};

use crate::host::{Host, PATH, Verdict, options, read};

/// A host that hangs up after so many bytes of the answers to reads, over each of its first `times` connections.
fn host_that_hangs_up(bytes: usize, times: usize) -> Arc<Host> {
    Host::new(1000).script(move |connection, message| {
        let Request::Io(io) = message.request else {
            return Ok(Verdict::Serve);
        };
        if connection.number >= times {
            return Ok(Verdict::Serve);
        }
        let mut answer = Vec::new();
        for part in connection.parts(io) {
            let (reply, extra) = connection.part(io, part);
            answer.extend(Reply::Io(reply).encode(message.operation));
            answer.extend(extra);
        }
        let end = bytes.min(answer.len());
        connection.stream.write_all(&answer[..end])?;
        Ok(Verdict::HangUp)
    })
}

#[test]
fn what_was_being_read_is_read_again_once() {
    for bytes in [0, 1, 16, 59, 60, 61, 5000, 65_595, 65_596, 65_597, 100_000] {
        let host = host_that_hangs_up(bytes, 1);
        let disk = host.open(&options().buffer_size(64 << 10)).unwrap();
        let (sender, results) = mpsc::channel();
        for start in [0, 250, 500, 750] {
            let sender = sender.clone();
            disk.submit_read(
                Sector::new(start),
                vec![0; 250 * 512],
                move |result, buf| {
                    sender.send((start as usize, result, buf)).unwrap();
                },
            );
        }
        for (start, result, buf) in results.iter().take(4) {
            result.unwrap();
            assert!(
                buf == host.data()[start * 512..(start + 250) * 512],
                "{bytes}"
            );
        }
        assert_eq!(host.dials(), 2);
        disk.close().unwrap();

        let host = host_that_hangs_up(bytes, 2);
        let disk = host.open(&options().buffer_size(64 << 10)).unwrap();
        let error = read(&disk, 0, 250).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{bytes}: {error}");
        assert_eq!(host.dials(), 2);
        // Whoever asks again is served.
        assert!(read(&disk, 0, 250).unwrap() == host.data()[..250 * 512]);
        assert_eq!(host.dials(), 3);
    }
}

/// At every message of a session that opens, asks, reads and closes.
#[test]
fn a_lost_connection_never_gives_wrong_data_and_never_hangs() {
    for lost_at in 0..12 {
        let count = Arc::new(AtomicUsize::new(0));
        let host = Host::new(1000).script(move |_, _| {
            let is_lost = count.fetch_add(1, Ordering::SeqCst) == lost_at;
            Ok(if is_lost {
                Verdict::HangUp
            } else {
                Verdict::Serve
            })
        });
        let disk = match host.open(&options()) {
            Ok(disk) => disk,
            Err(error) => {
                assert!(lost_at < 4);
                assert_eq!(error.kind(), ErrorKind::ConnectionLost);
                continue;
            }
        };
        assert!(lost_at >= 4);
        assert_eq!(
            disk.ddb("adapterType").unwrap().as_deref(),
            Some("lsilogic")
        );
        assert!(read(&disk, 0, 1000).unwrap() == host.data());
        let range = SectorRange::whole(SectorCount::new(896));
        disk.allocated(range, SectorCount::new(128)).unwrap();
        // What comes after the answer to closing the disk is a courtesy.
        let closed = disk.close();
        assert_eq!(closed.is_err(), lost_at == 7, "{lost_at}: {closed:?}");
    }
}

#[test]
fn a_host_may_hang_up_once_the_disk_is_closed() {
    let host = Host::new(1000).script(|connection, message| match message.request {
        Request::CloseSession(_) => {
            connection.answer(message)?;
            Ok(Verdict::HangUp)
        }
        _ => Ok(Verdict::Serve),
    });
    // Whether the goodbye still finds a connection is a matter of moments.
    for round in 0..50 {
        let disk = host.open(&options().writable(true)).unwrap();
        disk.write_at(Sector::new(0), &[round; 512]).unwrap();
        disk.close().unwrap();
    }
    assert_eq!(host.data()[..512], [49; 512]);
}

#[test]
fn writes_are_never_repeated() {
    let host = Host::new(1000).script(|connection, message| match message.request {
        Request::Io(io) if io.direction == Direction::Write && io.offset > 0 => {
            // It is written, but nobody says so.
            connection.take_part(message.operation, io, &message.extra);
            Ok(Verdict::HangUp)
        }
        _ => Ok(Verdict::Serve),
    });
    let disk = host.open(&options().writable(true)).unwrap();
    disk.write_at(Sector::new(0), &[1; 512]).unwrap();
    disk.flush().unwrap();
    let error = disk.write_at(Sector::new(8), &[2; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    // What the host has acknowledged may be lost too, so nothing goes on as if nothing had happened.
    let errors = [
        disk.write_at(Sector::new(0), &[3; 512]).unwrap_err(),
        read(&disk, 0, 1).unwrap_err(),
        disk.ddb("uuid").unwrap_err(),
        disk.flush().unwrap_err(),
        disk.close().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert!(
            error.to_string().contains("has to be opened again"),
            "{error}"
        );
    }
    assert_eq!(host.dials(), 1);
    assert_eq!(host.writes.lock().unwrap().len(), 2);
    assert_eq!(host.data()[..512], [1; 512]);
}

#[test]
fn a_disk_that_was_only_read_may_still_be_written() {
    let host = host_that_hangs_up(100, 1);
    let disk = host.open(&options().writable(true)).unwrap();
    read(&disk, 0, 100).unwrap();
    assert_eq!(host.dials(), 2);
    disk.write_at(Sector::new(5), &[7; 512]).unwrap();
    disk.close().unwrap();
    assert_eq!(host.data()[5 * 512..6 * 512], [7; 512]);
    let flags: Vec<_> = host
        .flags
        .lock()
        .unwrap()
        .iter()
        .map(|flags| flags.0)
        .collect();
    assert_eq!(flags, [0x1a, 0x1a]);
}

#[test]
fn a_disk_that_is_another_one_is_not_used() {
    let host = Host::new(1000).script(|connection, message| match message.request {
        Request::Io(_) if connection.number == 0 => {
            connection.host.data.lock().unwrap().truncate(999 * 512);
            Ok(Verdict::HangUp)
        }
        _ => Ok(Verdict::Serve),
    });
    let disk = host.open(&options()).unwrap();
    for _ in 0..2 {
        assert_eq!(read(&disk, 0, 1).unwrap_err().kind(), ErrorKind::Failed);
    }
    assert_eq!(host.dials(), 2);
}

/// Messages of these numbers are thought to say that another host serves the disk.
#[test]
fn a_host_that_moves_the_disk_is_left() {
    for number in [14, 21] {
        let host = Host::new(1000).script(move |connection, message| {
            if connection.number == 0 && matches!(message.request, Request::Io(_)) {
                connection.send(77, Reply::Other(Kind::Other(number)), &[])?;
                let _ = connection.receive();
                return Ok(Verdict::HangUp);
            }
            Ok(Verdict::Serve)
        });
        let disk = host.open(&options()).unwrap();
        assert!(read(&disk, 0, 1000).unwrap() == host.data());
        assert_eq!(host.dials(), 2);
    }
}

#[test]
fn a_connection_lost_while_idle_is_made_again() {
    let host = Host::new(1000).script(|connection, message| {
        let was_read = matches!(message.request, Request::Io(_));
        if was_read && connection.number < 3 {
            connection.answer(message)?;
            return Ok(Verdict::HangUp);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options()).unwrap();
    for _ in 0..6 {
        assert!(read(&disk, 0, 1000).unwrap() == host.data());
    }
    assert_eq!(host.dials(), 4);
}

/// A host that cannot be reached takes long to say so; sixteen requests do not wait for that sixteen times.
#[test]
fn lost_requests_dial_once() {
    let host = host_that_hangs_up(0, 1);
    let dialing = Arc::clone(&host);
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dials);
    let dial = move || {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            return dialing.dial();
        }
        let nobody = Host::new(8).script(|_, _| Ok(Verdict::HangUp));
        Err(nobody.open(&options()).unwrap_err())
    };
    let disk = RemoteDisk::open(dial, PATH, &options()).unwrap();
    let (sender, results) = mpsc::channel();
    for number in 0..16 {
        let sender = sender.clone();
        disk.submit_read(Sector::new(number), vec![0; 512], move |result, _| {
            sender.send(result).unwrap();
        });
    }
    for result in results.iter().take(16) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
    assert_eq!(dials.load(Ordering::SeqCst), 2);
}

/// A disk whose second connection is lost while a callback keeps what is to be done again waiting, whose third is not
/// let in, and whose fourth is served. The sender lets the callback return.
fn disk_that_reconnects_late(refuse: Option<u32>) -> (Arc<Host>, RemoteDisk, mpsc::Sender<()>) {
    let host = Host::new(1000).script(move |connection, message| {
        match (connection.number, message.request) {
            (0, Request::Io(_)) => return Ok(Verdict::HangUp),
            (1, Request::Io(_)) => {
                connection.answer(message)?;
                return Ok(Verdict::HangUp);
            }
            (2, Request::OpenSession(_)) => match refuse {
                Some(code) => connection.refuse(message.operation, code, "no")?,
                None => return Ok(Verdict::HangUp),
            },
            _ => return Ok(Verdict::Serve),
        }
        Ok(Verdict::Served)
    });
    let options = options().writable(true).request_size(64 << 10);
    let disk = host.open(&options).unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    disk.submit_read(Sector::new(0), vec![0; 512], move |result, _| {
        begun.send(result).unwrap();
        wait.recv().unwrap();
    });
    has_begun.recv().unwrap().unwrap();
    // Until the second connection is known to be lost.
    std::thread::sleep(Duration::from_millis(50));
    (host, disk, go_on)
}

/// Longer than a host that could not be reached is left alone.
const LATER: Duration = Duration::from_millis(1100);

#[test]
fn a_read_that_no_connection_took_comes_whole() {
    for refuse in [None, Some(5)] {
        let (host, disk, go_on) = disk_that_reconnects_late(refuse);
        let (sender, results) = mpsc::channel();
        disk.submit_read(
            Sector::new(0),
            vec![0xA5; 1000 * 512],
            move |result, buf| {
                sender.send((result, buf)).unwrap();
            },
        );
        std::thread::sleep(LATER);
        go_on.send(()).unwrap();
        let (result, buf) = results.recv().unwrap();
        result.unwrap();
        assert!(buf == host.data());
        assert_eq!(host.dials(), 4);
    }
}

#[test]
fn a_write_that_no_connection_took_goes_whole() {
    let (host, disk, go_on) = disk_that_reconnects_late(Some(5));
    let (sender, results) = mpsc::channel();
    disk.submit_write(Sector::new(0), vec![7; 1000 * 512], move |result, _| {
        sender.send(result).unwrap();
    });
    std::thread::sleep(LATER);
    go_on.send(()).unwrap();
    results.recv().unwrap().unwrap();
    assert_eq!(host.dials(), 4);
    disk.close().unwrap();
    assert!(host.data() == [7; 1000 * 512]);
}
