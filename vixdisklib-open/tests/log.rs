//! Log callbacks: they may call the library, so no lock of the library is held meanwhile. One test, because the
//! callbacks belong to the whole process.

mod common;

use std::cell::Cell;
use std::ffi::c_char;
use std::fs::File;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VaList, VixError};

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls back into the library, through every lock that it has.
unsafe extern "C" fn meddle(_: *const c_char, _: VaList) {
    if INSIDE.replace(true) {
        return;
    }
    WARNINGS.fetch_add(1, Ordering::SeqCst);
    if let Ok(connection) = connect_ex(true) {
        match disconnect(connection) {
            VixError::OK => {
                assert_eq!(init(8, 0), VixError::OK);
                exit();
            }
            // On a thread of the library, where it would wait for itself.
            code => assert_eq!(code, VixError::OBJECT_IS_BUSY),
        }
    }
    assert!(!error_text(VixError::FAIL).is_empty());
    INSIDE.set(false);
}

fn scenario() {
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "short", &pattern(64, 1));
    // SAFETY: the callbacks live as long as the process; directories may be null.
    let code = unsafe {
        (TABLE.init_ex)(
            8,
            0,
            Some(meddle),
            Some(meddle),
            Some(meddle),
            ptr::null(),
            ptr::null(),
        )
    };
    assert_eq!(code, VixError::OK);
    let after = |what: &str, expected: usize| {
        assert_eq!(WARNINGS.swap(0, Ordering::SeqCst), expected, "{what}");
    };
    after("a greeting", 1);

    let connection = connect();
    assert!(open(connection, &folder.path().join("none.vmdk"), READ_ONLY).is_err());
    after("a failed open", 1);
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    assert!(read(disk, 64, 1).is_err());
    after("a refused read", 1);
    after("a good open", 0);

    // Reads that fail on a thread of the library.
    let flat = folder.path().join("short-flat.vmdk");
    let file = File::options().write(true).open(flat).expect("writable");
    file.set_len(0).expect("writable");
    let callbacks = Callbacks::default();
    let mut buffer = vec![0; 8 * SECTOR];
    // SAFETY: buffer and callbacks outlive the request, which is waited for.
    let code = unsafe {
        TABLE.read_async.expect("there")(
            disk,
            0,
            8,
            buffer.as_mut_ptr(),
            Some(Callbacks::on_done),
            callbacks.data(),
        )
    };
    assert_eq!(code, VixError::ASYNC);
    assert_eq!(wait(disk), VixError::OK, "waiting itself worked");
    let codes = callbacks.codes();
    assert!(
        codes.len() == 1 && codes[0] != VixError::OK && codes[0] != VixError::ASYNC,
        "{codes:?}"
    );
    after("a request that failed later", 1);

    assert_eq!(disconnect(connection), VixError::OK);
    after("a disk left open", 1);
    open(connect(), &path, READ_ONLY).expect_err("too short now");
    after("a damaged disk", 1);
    exit();
    after("nothing left open", 0);
}

#[test]
fn callbacks_may_call_the_library() {
    let (send, receive) = mpsc::channel();
    let scenario = thread::spawn(move || {
        scenario();
        send.send(()).expect("receiver lives");
    });
    // A deadlock is what this looks for; it must not become a test that never ends.
    if receive.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the library waits for itself");
    }
    scenario.join().expect("no assertion failed");
}
