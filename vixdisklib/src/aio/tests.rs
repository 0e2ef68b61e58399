//! Asynchronous requests on a library that completes them as the test wants.

mod fake;
mod random;
mod wakers;

use std::future::Future as _;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Waker};

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::VixError;

use super::{IoFuture, IoLimits, RequestSize};
use crate::buffer::AlignedBuf;
use crate::disk::Disk;
use crate::error::{Context, Error, ErrorKind};
use fake::{Fake, Fate};

fn buffer(sectors: u64, byte: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::new(SectorCount::new(sectors));
    buf.fill(byte);
    buf
}

fn limits(depth: usize, longest: u64) -> IoLimits {
    IoLimits {
        request: RequestSize::new(SectorCount::new(longest)).expect("a length"),
        depth: NonZeroUsize::new(depth).expect("some"),
    }
}

fn range(start: u64, count: u64) -> SectorRange {
    SectorRange::new(Sector::new(start), SectorCount::new(count)).expect("fits")
}

fn sectors_of(error: &Error) -> SectorRange {
    let range = error.context().iter().find_map(|context| match context {
        Context::Sectors(range) => Some(*range),
        _ => None,
    });
    range.expect("an error names its sectors")
}

fn is_ready(future: &mut IoFuture) -> bool {
    let mut context = task::Context::from_waker(Waker::noop());
    Pin::new(future).poll(&mut context).is_ready()
}

fn read(disk: &Disk, start: u64, count: u64) -> IoFuture {
    disk.read_async(Sector::new(start), buffer(count, 0xEE))
}

#[test]
fn no_more_than_the_depth_is_in_flight_and_the_others_come_in_order() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(2, 8));
    let reads: Vec<_> = (0..5).map(|at| read(&disk, at * 8, 8)).collect();
    assert_eq!(fake.submitted(), [0, 8]);
    fake.complete(1);
    fake.wait_for_submitted(3);
    assert_eq!(fake.submitted(), [0, 8, 16], "in order, one for one");
    fake.complete_all();
    for (at, read) in reads.into_iter().enumerate() {
        let (done, buf) = read.wait();
        done.expect("read");
        assert!(buf[..] == fake.bytes()[at * 4096..][..4096]);
    }
    assert_eq!(fake.submitted(), [0, 8, 16, 24, 32]);
    assert_eq!(fake.most_in_flight(), 2);
    disk.close().expect("closes");
}

#[test]
fn a_long_request_is_split_and_joined_whatever_part_is_first() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(16, 8));
    let mut future = read(&disk, 3, 29);
    assert_eq!(fake.submitted(), [3, 11, 19, 27]);
    for last_first in [3, 2, 1] {
        fake.complete(last_first);
        assert!(!is_ready(&mut future));
    }
    fake.complete(0);
    let (done, buf) = future.wait();
    done.expect("read");
    assert!(buf[..] == fake.bytes()[3 * 512..][..29 * 512]);

    let write = disk.write_async(Sector::new(100), buffer(17, 9));
    fake.complete_all();
    write.wait().0.expect("written");
    assert!(
        fake.bytes()[100 * 512..117 * 512]
            .iter()
            .all(|byte| *byte == 9)
    );
    disk.close().expect("closes");
}

#[test]
fn one_failed_part_fails_the_whole_and_is_named() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(16, 8));
    fake.plan([
        Fate::Late,
        Fate::FailLate(VixError::DISK_NOIO),
        Fate::Late,
        Fate::FailLate(VixError::FILE_ERROR),
    ]);
    let mut future = read(&disk, 0, 32);
    // The later failure comes first.
    for last_first in [3, 2, 1] {
        fake.complete(last_first);
        assert!(
            !is_ready(&mut future),
            "the buffer is not given back while a part is out"
        );
    }
    fake.complete(0);
    let (done, buf) = future.wait();
    let error = done.expect_err("failed");
    assert_eq!(error.code(), Some(VixError::DISK_NOIO));
    assert_eq!(sectors_of(&error), range(8, 8));
    assert_eq!(buf.sectors(), SectorCount::new(32));
    disk.close().expect("closes");
}

#[test]
fn after_a_failure_parts_in_line_are_not_submitted() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(1, 8));
    fake.plan([Fate::FailLate(VixError::DISK_NOIO)]);
    let write = disk.write_async(Sector::ZERO, buffer(64, 1));
    let next = read(&disk, 64, 8);
    fake.complete_all();
    assert_eq!(
        sectors_of(&write.wait().0.expect_err("failed")),
        range(0, 8)
    );
    next.wait().0.expect("read");
    assert_eq!(fake.submitted(), [0, 64]);
    disk.close().expect("closes");
}

#[test]
fn a_refused_part_fails_the_request_once_the_others_are_back() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(16, 8));
    fake.plan([Fate::Late, Fate::Refuse(VixError::OUT_OF_MEMORY)]);
    let mut future = read(&disk, 0, 24);
    assert!(!is_ready(&mut future), "the first part is out");
    fake.complete_all();
    let error = future.wait().0.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(sectors_of(&error), range(8, 8));
    assert_eq!(
        fake.submitted(),
        [0, 8],
        "nothing behind the refusal is asked for"
    );
    disk.close().expect("closes");
}

#[test]
fn what_is_dropped_in_line_never_reaches_the_library_and_frees_its_buffer() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(1, 8));
    let first = read(&disk, 0, 8);
    let mut requests: Vec<_> = (1..4).map(|at| read(&disk, at * 8, 16)).collect();
    let dropped = requests.remove(1);
    let held = dropped.request();
    assert!(held.completion.with_buf(|_| ()).is_some());
    drop(dropped);
    assert!(
        held.completion.with_buf(|_| ()).is_none(),
        "freed at once, though still in line"
    );
    fake.complete_all();
    first.wait().0.expect("read");
    for request in requests {
        request.wait().0.expect("read");
    }
    disk.settle().expect("settles");
    assert_eq!(fake.submitted(), [0, 8, 16, 24, 32]);
    assert_eq!(
        Arc::strong_count(&held),
        1,
        "nobody else remembers the request"
    );
    disk.close().expect("closes");
}

#[test]
fn hundreds_dropped_in_flight_free_nothing_too_early_and_everything_in_the_end() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(300, 8));
    let requests: Vec<_> = (0..400)
        .map(|at| disk.write_async(Sector::new(at), buffer(1, 5)))
        .collect();
    let held: Vec<_> = requests.iter().map(IoFuture::request).collect();
    drop(requests);
    let with_buffer = |held: &[Arc<super::Request>]| {
        let has = |request: &&Arc<super::Request>| request.completion.with_buf(|_| ()).is_some();
        held.iter().filter(has).count()
    };
    assert_eq!(with_buffer(&held), 300, "what the library has, and no more");
    fake.complete_all();
    disk.close().expect("closes");
    assert_eq!(with_buffer(&held), 0);
    assert!(held.iter().all(|request| Arc::strong_count(request) == 1));
    let bytes = fake.bytes();
    let written = bytes
        .chunks(512)
        .filter(|sector| sector.iter().all(|byte| *byte == 5));
    assert_eq!(written.count(), 300, "the late writes found their buffers");
}

#[test]
fn blocking_calls_wait_for_requests_in_flight_and_in_line() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(2, 8));
    let write = disk.write_async(Sector::ZERO, buffer(64, 3));
    fake.complete_all();
    // The library would refuse the mix with `VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED`.
    let mut sectors = vec![0; 64 * 512];
    disk.read_at(Sector::ZERO, &mut sectors)
        .expect("no mixed mode");
    assert!(sectors.iter().all(|byte| *byte == 3));
    let other = read(&disk, 0, 64);
    disk.flush().expect("flushed");
    disk.write_at(Sector::ZERO, &sectors[..512])
        .expect("no mixed mode");
    drop(read(&disk, 0, 64));
    disk.read_at(Sector::ZERO, &mut sectors)
        .expect("not even with one that was given up");
    write.wait().0.expect("written");
    other.wait().0.expect("read");
    disk.close().expect("closes");
}

#[test]
fn a_transport_that_works_inside_the_call_needs_no_queue() {
    let fake = Fake::start(Fate::Inline);
    let disk = fake.disk(limits(1, 8));
    let reads: Vec<_> = (0..20).map(|at| read(&disk, at * 16, 8)).collect();
    for mut read in reads {
        assert!(is_ready(&mut read), "done inside its own call");
    }
    // More parts than the depth: the queue's thread makes the calls, and this one only waits.
    let (done, buf) = read(&disk, 0, 64).wait();
    done.expect("read");
    assert!(buf[..] == fake.bytes()[..64 * 512]);
    assert_eq!(fake.most_in_flight(), 1);
    disk.close().expect("closes");
}

#[test]
fn the_depth_can_change_while_requests_wait() {
    let fake = Fake::start(Fate::Late);
    let mut disk = fake.disk(limits(1, 8));
    let reads: Vec<_> = (0..4).map(|at| read(&disk, at * 8, 8)).collect();
    assert_eq!(fake.submitted().len(), 1);
    disk.set_io_limits(limits(3, 8));
    fake.wait_for_submitted(3);
    fake.complete_all();
    for read in reads {
        read.wait().0.expect("read");
    }
    assert_eq!(fake.most_in_flight(), 3);
    disk.close().expect("closes");
}

#[test]
fn a_shared_disk_submits_from_one_thread_and_never_blocks_the_caller() {
    let fake = Fake::start(Fate::Late);
    let shared = fake
        .disk(limits(4, 8))
        .into_shared()
        .expect("a submit thread");
    let outside = shared.read_async(Sector::new(511), buffer(2, 0));
    assert_eq!(
        outside.wait().0.expect_err("outside").kind(),
        ErrorKind::OutOfRange
    );
    let reads: Vec<_> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4_u64)
            .map(|asker| {
                let shared = shared.clone();
                scope.spawn(move || {
                    let start = |at: u64| {
                        let sector = Sector::new(asker * 128 + at * 16);
                        shared.read_async(sector, buffer(16, 0))
                    };
                    (0..8).map(start).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |asker: std::thread::ScopedJoinHandle<'_, _>| asker.join().expect("no panic");
        askers.into_iter().flat_map(join).collect()
    });
    fake.complete_all();
    let bytes = fake.bytes();
    for (at, read) in reads.into_iter().enumerate() {
        let (done, buf) = read.wait();
        done.expect("read");
        assert!(buf[..] == bytes[at * 16 * 512..][..16 * 512]);
    }
    assert!(fake.most_in_flight() <= 4);
    let late = shared.write_async(Sector::ZERO, buffer(16, 8));
    shared.flush().expect("flushes behind the write");
    assert!(fake.bytes()[..16 * 512].iter().all(|byte| *byte == 8));
    late.wait().0.expect("written");
    shared.close().expect("closes");
}
