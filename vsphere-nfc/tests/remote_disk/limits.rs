//! Memory of the host, and patience with it.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use vsphere_nfc::wire::aio::{Direction, Reply, Request};
use vsphere_nfc::{Budget, ErrorKind, Sector};

use crate::host::{Host, Verdict, impatient, options, read};

/// A host that has memory for so many bytes of one request; it notes how many of them were too large.
fn small_host(limit: Arc<AtomicU32>, refused: Arc<AtomicUsize>) -> Arc<Host> {
    Host::new(8192).script(move |connection, message| match message.request {
        Request::Io(io) if io.total > limit.load(Ordering::SeqCst) => {
            refused.fetch_add(1, Ordering::SeqCst);
            let text = format!("Failed to allocate the requested {} bytes", io.total + 24);
            connection.refuse(message.operation, 5, &text)?;
            Ok(Verdict::Served)
        }
        _ => Ok(Verdict::Serve),
    })
}

#[test]
fn requests_become_smaller_until_the_host_has_memory() {
    let limit = Arc::new(AtomicU32::new(200 << 10));
    let refused = Arc::new(AtomicUsize::new(0));
    let host = small_host(Arc::clone(&limit), Arc::clone(&refused));
    let disk = host.open(&options().writable(true)).unwrap();
    assert!(read(&disk, 0, 8192).unwrap() == host.data());
    assert!(refused.swap(0, Ordering::SeqCst) > 0);
    // It has learned, and does not ask for as much again.
    assert!(read(&disk, 0, 8192).unwrap() == host.data());
    let data = vec![0x5A; 4096 * 512];
    disk.write_at(Sector::new(0), &data).unwrap();
    assert_eq!(refused.load(Ordering::SeqCst), 0);
    assert!(host.data()[..data.len()] == data);

    limit.store(70 << 10, Ordering::SeqCst);
    let data = vec![0x3C; 4096 * 512];
    disk.write_at(Sector::new(1), &data).unwrap();
    assert!(refused.load(Ordering::SeqCst) > 0);
    assert!(host.data()[512..][..data.len()] == data);
    limit.store(66_000, Ordering::SeqCst);
    let (sender, result) = mpsc::channel();
    disk.submit_write(Sector::new(2), data.clone(), move |result, _| {
        sender.send(result).unwrap();
    });
    result.recv().unwrap().unwrap();
    assert!(host.data()[1024..][..data.len()] == data);

    limit.store(0, Ordering::SeqCst);
    let error = read(&disk, 0, 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(error.code(), Some(5));
    let error = disk.write_at(Sector::new(0), &data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    limit.store(u32::MAX, Ordering::SeqCst);
    read(&disk, 0, 1000).unwrap();
    disk.close().unwrap();
    assert_eq!((host.dials(), host.goodbyes()), (1, 1));
}

/// A host that is slow to answer, so that requests gather; two disks share the budget.
#[test]
fn no_more_is_in_flight_than_the_budget_permits() {
    let waiting = Arc::new(Mutex::new((0u32, 0u32)));
    let seen = Arc::clone(&waiting);
    let host = Host::new(8192).script(move |connection, message| {
        let Request::Io(io) = message.request else {
            return Ok(Verdict::Serve);
        };
        {
            let (now, most) = &mut *seen.lock().unwrap();
            *now += io.total;
            *most = (*most).max(*now);
        }
        let mut late = connection.another();
        let (seen, message) = (Arc::clone(&seen), message.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            // Given back before the client can know of it.
            seen.lock().unwrap().0 -= io.total;
            let turn = Arc::clone(&late.turn);
            let _turn = turn.lock().unwrap();
            let _ = late.answer(&message);
        });
        Ok(Verdict::Served)
    });
    let budget = Budget::new(300_000);
    let options = options().budget(Arc::clone(&budget)).request_size(64 << 10);
    let disks = [host.open(&options).unwrap(), host.open(&options).unwrap()];
    thread::scope(|scope| {
        for thread in 0..4 {
            let (disk, host) = (&disks[thread % 2], &host);
            scope.spawn(move || assert!(read(disk, 0, 8192).unwrap() == host.data()));
        }
    });
    let (now, most) = *waiting.lock().unwrap();
    assert_eq!(now, 0);
    assert!(most <= 300_000, "{most}");
    assert!(most >= 3 * 65536, "{most}");
    assert_eq!(budget.in_flight(), 0);
}

#[test]
fn an_idle_connection_may_be_silent() {
    let host = Arc::new(Host::new(8));
    let disk = host.open(&impatient(Duration::from_millis(60))).unwrap();
    thread::sleep(Duration::from_millis(300));
    read(&disk, 0, 8).unwrap();
    thread::sleep(Duration::from_millis(150));
    read(&disk, 0, 8).unwrap();
    assert_eq!(host.dials(), 1);
}

#[test]
fn a_slow_host_is_waited_for_as_long_as_something_comes() {
    let host = Host::new(64).script(|connection, message| {
        let Request::Io(io) = message.request else {
            return Ok(Verdict::Serve);
        };
        for part in 0..io.total / 2048 {
            thread::sleep(Duration::from_millis(60));
            connection.send_part(message.operation, io, (part * 2048, 2048))?;
        }
        Ok(Verdict::Served)
    });
    let disk = host.open(&impatient(Duration::from_millis(400))).unwrap();
    let begin = Instant::now();
    assert!(read(&disk, 0, 64).unwrap() == host.data());
    assert!(begin.elapsed() > Duration::from_millis(800));
    assert_eq!(host.dials(), 1);
}

/// Whether it never begins to answer, or stops in the midst of a header or of data, twice: it is asked once more over a
/// new connection.
#[test]
fn a_silent_host_is_not_waited_for() {
    for sent in [0usize, 5, 16, 60, 1000] {
        let host = Host::new(64).script(move |connection, message| {
            let Request::Io(io) = message.request else {
                return Ok(Verdict::Serve);
            };
            let (reply, extra) = connection.part(io, (0, io.total));
            let answer = [Reply::Io(reply).encode(message.operation), extra].concat();
            std::io::Write::write_all(&mut connection.stream, &answer[..sent])?;
            // Until the client hangs up.
            let _ = connection.receive();
            Ok(Verdict::HangUp)
        });
        let disk = host.open(&impatient(Duration::from_millis(80))).unwrap();
        let begin = Instant::now();
        let error = read(&disk, 0, 64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "after {sent} bytes");
        assert!(begin.elapsed() >= Duration::from_millis(160));
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(host.dials(), 2);
    }
}

/// A host that takes nothing more, while it owes answers.
#[test]
fn a_host_that_takes_nothing_is_given_up() {
    let host = Host::new(20_000).script(move |_, message| match message.request {
        Request::Io(io) if io.direction == Direction::Write => {
            thread::sleep(Duration::from_secs(3));
            Ok(Verdict::HangUp)
        }
        _ => Ok(Verdict::Serve),
    });
    let mut timeouts = vsphere_nfc::Timeouts::default();
    timeouts.read = Duration::from_millis(100);
    timeouts.write = Duration::from_millis(300);
    let disk = host
        .open(&options().writable(true).timeouts(timeouts))
        .unwrap();
    let begin = Instant::now();
    let error = disk
        .write_at(Sector::new(0), &vec![1; 8 << 20])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // The time-out for sending counts while something is being sent.
    assert!(
        begin.elapsed() >= Duration::from_millis(290),
        "{:?}",
        begin.elapsed()
    );
    assert!(begin.elapsed() < Duration::from_secs(2));
}
