//! InitEx and Exit. One test, because it is about the state of the whole process.

mod common;

use std::fs;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::VixError;

/// The threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

#[test]
fn the_library_lives_from_the_first_init_to_the_last_exit() {
    let folder = tempfile::tempdir().expect("writable");
    let content = pattern(64, 1);
    let path = flat_disk(folder.path(), "life", &content);

    let before = threads();

    // Before InitEx.
    exit();
    assert_eq!(connect_ex(false), Err(VixError::DISK_NOINIT));
    assert_eq!(
        open(invented(1), &path, READ_ONLY),
        Err(VixError::DISK_NOINIT)
    );
    assert_eq!(read(invented(1), 0, 1), Err(VixError::DISK_NOINIT));
    assert_eq!(error_text(VixError::FILE_NOT_FOUND), "file not found");
    assert_eq!(logged(&[]), []);

    // Versions.
    for (major, minor) in [
        (0, 0),
        (1, 1),
        (5, 5),
        (9, 2),
        (10, 0),
        (u32::MAX, u32::MAX),
    ] {
        assert_eq!(
            init(major, minor),
            VixError::NOT_SUPPORTED,
            "{major}.{minor}"
        );
        assert_eq!(connect_ex(false), Err(VixError::DISK_NOINIT));
    }
    assert_eq!(logged(&["API version 5.5", "6.0 to 9.1"]).len(), 1);
    for (major, minor) in [
        (6, 0),
        (6, 5),
        (6, 7),
        (6, 8),
        (7, 0),
        (8, 0),
        (9, 0),
        (9, 1),
    ] {
        assert_eq!(init(major, minor), VixError::OK, "{major}.{minor}");
        exit();
        assert_eq!(connect_ex(false), Err(VixError::DISK_NOINIT));
    }
    // SAFETY: null means silence and no directory.
    let code = unsafe { TABLE.init.expect("there")(6, 5, None, None, None, ptr::null()) };
    assert_eq!(code, VixError::OK);
    let silent = logged(&[]).len();
    assert_eq!(disconnect(invented(7)), VixError::DISK_INVALID_CONNECTION);
    assert_eq!(logged(&[]).len(), silent);
    exit();

    // Nested.
    assert_eq!(init(8, 0), VixError::OK);
    assert_eq!(init(6, 5), VixError::OK);
    assert_eq!(logged(&["initialised already"]).len(), 1);
    let connection = connect();
    exit();
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    assert_eq!(threads(), before, "no asynchronous call, no thread");
    let callbacks = Callbacks::default();
    let mut buffer = vec![0; content.len()];
    // SAFETY: buffer and callbacks outlive the request, which Exit waits for.
    let code = unsafe {
        TABLE.read_async.expect("there")(
            disk,
            0,
            64,
            buffer.as_mut_ptr(),
            Some(Callbacks::on_done),
            callbacks.data(),
        )
    };
    assert_eq!(code, VixError::ASYNC);
    assert!(threads() > before);

    // Exit with everything still open.
    exit();
    assert_eq!(callbacks.codes(), [VixError::OK]);
    assert_eq!(buffer, content);
    // A thread that has been joined may show in /proc for a moment yet.
    let deadline = Instant::now() + Duration::from_secs(10);
    while threads() > before {
        assert!(Instant::now() < deadline, "threads outlive Exit");
        thread::yield_now();
    }
    assert_eq!(
        logged(&["VixDiskLib_Exit", "life.vmdk", "left open"]).len(),
        1
    );
    assert_eq!(read(disk, 0, 1), Err(VixError::DISK_NOINIT));
    exit();

    // Again, with handles of the first life.
    assert_eq!(init(9, 0), VixError::OK);
    assert_eq!(read(disk, 0, 1), Err(VixError::INVALID_HANDLE));
    assert_eq!(close(disk), VixError::INVALID_HANDLE);
    assert_eq!(disconnect(connection), VixError::DISK_INVALID_CONNECTION);
    let disk = open(connect(), &path, READ_ONLY).expect("opened");
    assert_eq!(read(disk, 0, 64).as_deref(), Ok(content.as_slice()));
    assert_eq!(close(disk), VixError::OK);
    exit();
}
