//! Operations that have a disk to themselves: others wait, and a progress function that would wait for itself is told.

mod common;

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{Bool, VixDiskLibConnection, VixDiskLibDiskType, VixDiskLibHandle, VixError};

const SPARSE: VixDiskLibDiskType = VixDiskLibDiskType::VIXDISKLIB_DISK_MONOLITHIC_SPARSE;

/// A sparse disk whose grains are out of order, with room for zeros; returns its content too.
fn disordered(connection: VixDiskLibConnection, folder: &Path) -> (PathBuf, Vec<u8>) {
    let path = folder.join("disk.vmdk");
    let params = create_params(SPARSE, 8192);
    assert_eq!(create(connection, &path, &params), Ok(()));
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    let data = pattern(8192, 1);
    for grain in (0..64_usize).rev() {
        let part = &data[grain * 128 * SECTOR..][..128 * SECTOR];
        assert_eq!(write(disk, grain as u64 * 128, part), Ok(()));
    }
    assert_eq!(close(disk), VixError::OK);
    (path, data)
}

#[test]
fn readers_and_writers_wait_and_find_everything_in_place() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let (path, data) = disordered(connection, folder.path());
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    let address = disk.expose_provenance();
    let is_over = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (data, is_over, reads) = (&data, &is_over, &reads);
            scope.spawn(move || {
                let disk = invented(address);
                // Each thread rewrites sectors of its own and reads those of all; the last grains become zeros.
                for round in 0.. {
                    let start = (round * 97 + number * 1300) % 6000;
                    let from = usize::try_from(start).expect("small") * SECTOR;
                    assert!(read(disk, start, 8).as_deref() == Ok(&data[from..from + 8 * SECTOR]));
                    let own = &data[from..from + SECTOR];
                    assert_eq!(write(disk, start, own), Ok(()));
                    reads.fetch_add(1, Ordering::Relaxed);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for round in 0..6_u64 {
            let zeros = vec![0; 128 * SECTOR];
            assert_eq!(write(disk, 7000 + round * 128, &zeros), Ok(()));
            for function in [TABLE.defragment, TABLE.shrink] {
                // SAFETY: handles are looked up; a null function hears nothing.
                let code = unsafe { function.expect("there")(disk, None, ptr::null_mut()) };
                assert_eq!(code, VixError::OK);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 0);
    assert_eq!(close(disk), VixError::OK);
    let mut expected = data;
    expected[7000 * SECTOR..7768 * SECTOR].fill(0);
    assert!(content(connection, &path) == expected);
    if let Some(seen) = content_by_qemu(&path) {
        assert!(seen == expected, "by qemu-img");
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

/// Tells that the operation has begun, gives others time to get into its way, and notes its end.
unsafe extern "C" fn dawdle(data: *mut c_void, percent: c_int) -> Bool {
    // SAFETY: the address of a `Dawdler` that outlives the call.
    let dawdler = unsafe { &*data.cast_const().cast::<Dawdler>() };
    match percent {
        0 => {
            dawdler.begun.send(()).expect("somebody waits");
            thread::sleep(Duration::from_millis(100));
        }
        100 => dawdler.is_over.store(true, Ordering::Relaxed),
        _ => {}
    }
    1
}

struct Dawdler {
    begun: mpsc::Sender<()>,
    is_over: AtomicBool,
}

#[test]
fn closing_waits_until_the_operation_is_done() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let (path, data) = disordered(connection, folder.path());
    for function in [TABLE.defragment, TABLE.shrink] {
        let disk = open(connection, &path, READ_WRITE).expect("opened");
        let address = disk.expose_provenance();
        let (begun, wait) = mpsc::channel();
        let dawdler = Dawdler {
            begun,
            is_over: AtomicBool::new(false),
        };
        let dawdler_address = ptr::from_ref(&dawdler).expose_provenance();
        thread::scope(|scope| {
            let operation = scope.spawn(move || {
                let data = ptr::with_exposed_provenance_mut(dawdler_address);
                // SAFETY: handles are looked up, and the data of the function outlives the scope.
                unsafe { function.expect("there")(invented(address), Some(dawdle), data) }
            });
            wait.recv().expect("begun");
            assert_eq!(close(disk), VixError::OK);
            assert!(dawdler.is_over.load(Ordering::Relaxed));
            assert_eq!(operation.join().expect("no panic"), VixError::OK);
        });
        assert!(content(connection, &path) == data);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

/// What a progress function needs to get into the way.
struct Meddler {
    connection: VixDiskLibConnection,
    busy: VixDiskLibHandle,
    free: VixDiskLibHandle,
    calls: usize,
}

/// Calls into the library, which must neither hang nor break anything.
unsafe extern "C" fn meddle(data: *mut c_void, _: c_int) -> Bool {
    // SAFETY: the address of a `Meddler` that outlives the call, which runs on this thread alone.
    let meddler = unsafe { &mut *data.cast::<Meddler>() };
    let (busy, free) = (meddler.busy, meddler.free);
    let waits = Err(VixError::OBJECT_IS_BUSY);
    assert_eq!(read(busy, 0, 1), waits.map(|()| vec![]));
    assert_eq!(write(busy, 0, &[0; SECTOR]), waits);
    for code in [wait(busy), flush(busy), close(busy), close(free)] {
        assert_eq!(ok(code), waits);
    }
    assert_eq!(ok(disconnect(meddler.connection)), waits);
    for function in [TABLE.shrink, TABLE.defragment] {
        // SAFETY: handles are looked up; a null function hears nothing.
        let code = unsafe { function.expect("there")(free, None, ptr::null_mut()) };
        assert_eq!(ok(code), waits);
    }
    for function in [TABLE.attach, TABLE.is_attach_possible] {
        // SAFETY: handles are looked up.
        assert_eq!(ok(unsafe { function.expect("there")(busy, free) }), waits);
    }
    exit();
    // What need not wait works.
    assert_eq!(read(free, 0, 16), Ok(pattern(16, 9)));
    assert!(!error_text(VixError::FAIL).is_empty());
    meddler.calls += 1;
    0
}

#[test]
fn a_progress_function_cannot_wait_for_itself() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let (path, data) = disordered(connection, folder.path());
    let other = flat_disk(folder.path(), "other", &pattern(16, 9));
    let busy = open(connection, &path, READ_WRITE).expect("opened");
    let free = open(connection, &other, READ_ONLY).expect("opened");
    for function in [TABLE.defragment, TABLE.shrink] {
        let mut meddler = Meddler {
            connection,
            busy,
            free,
            calls: 0,
        };
        // SAFETY: handles are looked up, and the data of the function outlives the call.
        let code =
            unsafe { function.expect("there")(busy, Some(meddle), (&raw mut meddler).cast()) };
        assert_eq!(code, VixError::OK);
        assert!(meddler.calls >= 2);
    }
    assert!(read(busy, 0, 8192).as_deref() == Ok(&*data));
    assert_eq!(close(busy), VixError::OK);
    assert_eq!(close(free), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

/// Disks and memory for more requests than can be queued.
struct Flood {
    busy: VixDiskLibHandle,
    free: VixDiskLibHandle,
    buffers: Vec<[u8; SECTOR]>,
    callbacks: Callbacks,
    /// Whether the free disk answered while the other one was busy.
    answered: bool,
}

/// Asks, once, for much of the disk that is busy until this returns, and in the end for something of the other one,
/// which it waits for.
unsafe extern "C" fn pour(data: *mut c_void, percent: c_int) -> Bool {
    if percent > 0 {
        return 1;
    }
    // SAFETY: the address of a `Flood` that outlives the call, which runs on this thread alone.
    let flood = unsafe { &mut *data.cast::<Flood>() };
    let last = flood.buffers.len() - 1;
    for (number, buffer) in flood.buffers.iter_mut().enumerate() {
        let disk = if number == last {
            flood.free
        } else {
            flood.busy
        };
        // SAFETY: each request has a buffer of its own, which outlives it, as do the callbacks.
        let code = unsafe {
            TABLE.read_async.expect("there")(
                disk,
                0,
                1,
                buffer.as_mut_ptr(),
                Some(Callbacks::on_done),
                flood.callbacks.data(),
            )
        };
        assert_eq!(code, VixError::ASYNC);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while !flood.answered && Instant::now() < end {
        flood.answered = !flood.callbacks.codes().is_empty();
        thread::yield_now();
    }
    1
}

/// They wait without a thread, so the requests of another disk do not wait with them.
#[test]
fn requests_of_a_progress_function_wait_but_it_does_not() {
    let _session = Session::start();
    let connection = connect();
    let folder = tempfile::tempdir().expect("writable");
    let (path, data) = disordered(connection, folder.path());
    let other = flat_disk(folder.path(), "other", &pattern(16, 9));
    let mut flood = Flood {
        busy: open(connection, &path, READ_WRITE).expect("opened"),
        free: open(connection, &other, READ_ONLY).expect("opened"),
        buffers: vec![[0; SECTOR]; 400],
        callbacks: Callbacks::default(),
        answered: false,
    };
    let (busy, free) = (flood.busy, flood.free);
    // SAFETY: handles are looked up, and the data of the function outlives the call.
    let code = unsafe { TABLE.shrink.expect("there")(busy, Some(pour), (&raw mut flood).cast()) };
    assert_eq!(code, VixError::OK);
    assert!(flood.answered, "the other disk's request waited too");
    assert_eq!(close(busy), VixError::OK);
    assert_eq!(close(free), VixError::OK);
    assert_eq!(flood.callbacks.codes(), vec![VixError::OK; 400]);
    let (last, others) = flood.buffers.split_last().expect("400 of them");
    assert!(others.iter().all(|sector| *sector == data[..SECTOR]));
    assert_eq!(last[..], pattern(1, 9));
    assert_eq!(disconnect(connection), VixError::OK);
}
