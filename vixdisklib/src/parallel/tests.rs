use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tempfile::TempDir;
use vixdisklib_sys::{FnTable, VixDiskLibHandle, VixError};

use super::*;
use crate::api::Api;
use crate::error::{Context, ErrorKind};
use crate::library::Library;
use crate::vddk_like::{VDDK, bytes, disk, start};

/// Three pieces of 2 MiB, and a short one.
const SECTORS: usize = 3 * 4096 + 100;
const BAD: u64 = 4096;

static TURN: Mutex<()> = Mutex::new(());
static CALLS: Mutex<Option<Calls>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();
static OPEN: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
struct Calls {
    /// How many calls are on each handle.
    running: HashMap<usize, usize>,
    most_on_one: usize,
    most: usize,
    /// How many calls wait for each other at first.
    meet: usize,
    bad: bool,
}

/// Reads from a handle, together with `meet` others.
unsafe extern "C" fn read(
    handle: VixDiskLibHandle,
    first: u64,
    count: u64,
    buf: *mut u8,
) -> VixError {
    let mut guard = CALLS.lock();
    let calls = guard.as_mut().expect("a test runs");
    let here = calls.running.entry(handle.addr()).or_default();
    *here += 1;
    calls.most_on_one = calls.most_on_one.max(*here);
    calls.most = calls.most.max(calls.running.values().sum());
    let bad = calls.bad && first == BAD;
    CHANGED.notify_all();
    while guard.as_ref().is_some_and(|calls| calls.most < calls.meet) {
        let late = CHANGED.wait_for(&mut guard, Duration::from_secs(10));
        assert!(!late.timed_out(), "the others never come");
    }
    drop(guard);
    let code = if bad {
        VixError::DISK_NOIO
    } else {
        // SAFETY: passed on.
        unsafe { (vixdisklib_open::TABLE.read)(handle, first, count, buf) }
    };
    let mut guard = CALLS.lock();
    let calls = guard.as_mut().expect("a test runs");
    *calls.running.get_mut(&handle.addr()).expect("entered") -= 1;
    code
}

unsafe extern "C" fn close(handle: VixDiskLibHandle) -> VixError {
    OPEN.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: passed on.
    unsafe { (vixdisklib_open::TABLE.close)(handle) }
}

static API: Api = Api {
    table: FnTable {
        read,
        close,
        ..VDDK
    },
    major: Some(8),
};

struct World {
    _library: Library,
    _folder: TempDir,
    reader: ParallelReader,
    contents: Vec<u8>,
    _turn: MutexGuard<'static, ()>,
}

fn world(requests: usize, calls: Calls, change: impl FnOnce(&mut ParallelOptions)) -> World {
    let turn = TURN.lock();
    *CALLS.lock() = Some(calls);
    let library = start(&API);
    let contents = bytes(SECTORS);
    OPEN.store(requests + 1, Ordering::SeqCst);
    let (folder, first) = disk(&library, &contents);
    let name = first.name().to_owned();
    first.close().expect("closes");
    let mut options = ParallelOptions {
        requests: NonZeroUsize::new(requests).expect("some"),
        ..ParallelOptions::default()
    };
    change(&mut options);
    let connection = library.connect_local().expect("local");
    let reader = connection
        .open_parallel(&name, OpenFlags::empty(), options)
        .expect("opens");
    World {
        _library: library,
        _folder: folder,
        reader,
        contents,
        _turn: turn,
    }
}

fn whole() -> SectorRange {
    SectorRange::whole(SectorCount::new(SECTORS as u64))
}

#[test]
fn a_synchronous_transport_is_read_by_a_handle_and_a_thread_for_each_request() {
    let calls = Calls {
        meet: 3,
        ..Calls::default()
    };
    let mut world = world(3, calls, |_| {});
    assert_eq!(world.reader.disks.len(), 3);
    assert!(world.reader.disk().is_read_only());
    let mut copy = Vec::new();
    let read = world.reader.read([whole()], |range, bytes| {
        assert_eq!(range.start().get() * 512, copy.len() as u64);
        copy.extend_from_slice(bytes);
        Ok::<_, Error>(())
    });
    read.expect("read");
    assert!(copy == world.contents);
    let calls = CALLS.lock().take().expect("a test runs");
    assert_eq!((calls.most_on_one, calls.most), (1, 3));
    world.reader.close().expect("closes");
    assert_eq!(OPEN.load(Ordering::SeqCst), 0);
}

#[test]
fn the_first_error_ends_the_reading() {
    let calls = Calls {
        bad: true,
        ..Calls::default()
    };
    let mut world = world(2, calls, |options| options.order = DeliveryOrder::AsRead);
    let pieces = std::iter::repeat_n(whole(), 1000);
    let error = world
        .reader
        .read(pieces, |_, _| Ok::<_, Error>(()))
        .expect_err("a bad piece");
    assert_eq!(error.code(), Some(VixError::DISK_NOIO));
    let piece = SectorRange::new(Sector::new(BAD), SectorCount::new(4096)).expect("fits");
    assert!(error.context().contains(&Context::Sectors(piece)));

    // The reader can be used again.
    let tail = SectorRange::new(Sector::new(2 * 4096), SectorCount::new(7)).expect("fits");
    let mut seen = Vec::new();
    let read = world.reader.read([tail], |range, bytes| {
        seen.push((range, bytes.len()));
        Ok::<_, Error>(())
    });
    read.expect("read");
    assert_eq!(seen, [(tail, 7 * 512)]);

    let beyond = SectorRange::new(Sector::new(SECTORS as u64), SectorCount::new(1)).expect("fits");
    let error = world.reader.read([beyond], |_, _| Ok::<_, Error>(()));
    assert_eq!(
        error.expect_err("past the end").kind(),
        ErrorKind::OutOfRange
    );
}

#[test]
fn buffers_are_bounded_and_ranges_are_asked_for_as_they_go() {
    let asked = AtomicUsize::new(0);
    let mut world = world(2, Calls::default(), |_| {});
    let mut delivered = 0;
    let small = SectorRange::whole(SectorCount::new(1));
    let pieces = std::iter::repeat_n(small, 500).inspect(|_| {
        asked.fetch_add(1, Ordering::Relaxed);
    });
    let read = world.reader.read(pieces, |_, _| {
        // Twice as many buffers as requests.
        assert!(asked.load(Ordering::Relaxed) <= delivered + 4);
        delivered += 1;
        Ok::<_, Error>(())
    });
    read.expect("read");
    assert_eq!(delivered, 500);
}

#[test]
fn a_panic_or_an_error_of_the_receiver_ends_all_threads() {
    for parallelism in [Parallelism::Handles, Parallelism::Requests] {
        let mut world = world(3, Calls::default(), |options| {
            options.parallelism = parallelism;
        });
        let pieces = || std::iter::repeat_n(whole(), 100);
        let result = catch_unwind(AssertUnwindSafe(|| {
            world.reader.read(pieces(), |_, _| -> Result<()> {
                std::panic::resume_unwind(Box::new("the receiver"))
            })
        }));
        assert!(result.is_err());
        let mut count = 0;
        let stopped = world.reader.read(pieces(), |_, _| {
            count += 1;
            let error = Error::new(ErrorKind::Other, Operation::Read, "enough");
            if count < 3 { Ok(()) } else { Err(error) }
        });
        assert_eq!(stopped.expect_err("enough").kind(), ErrorKind::Other);
        assert_eq!(count, 3);
        world.reader.disk().settle().expect("settles");
        // The scope has joined every thread: no call runs any more.
        let calls = CALLS.lock().take().expect("a test runs");
        assert!(calls.running.values().all(|count| *count == 0));
    }
}
