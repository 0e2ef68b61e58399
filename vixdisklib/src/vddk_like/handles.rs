//! Libraries that report success and give no handle.

use std::ffi::c_char;
use std::sync::atomic::{AtomicUsize, Ordering};

use vixdisklib_sys::{Bool, VixDiskLibConnectParams, VixDiskLibConnection};

use super::*;
use crate::error::Operation;

#[test]
fn a_disk_without_a_handle_is_not_open() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn open(
        _: VixDiskLibConnection,
        _: *const c_char,
        _: u32,
        _: *mut VixDiskLibHandle,
    ) -> VixError {
        VixError::OK
    }
    unsafe extern "C" fn close(_: VixDiskLibHandle) -> VixError {
        CALLS.fetch_add(1, Ordering::SeqCst);
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            open,
            close,
            ..VDDK
        },
        major: Some(8),
    };
    let (_folder, path) = flat(&bytes(8));
    let connection = start(&API).connect_local().expect("local");
    let error = connection
        .open_disk(&path, OpenFlags::empty())
        .expect_err("no handle");
    assert_eq!(
        (error.kind(), error.operation(), error.path()),
        (ErrorKind::Other, Operation::Open, Some(path.as_path()))
    );
    assert_eq!(CALLS.load(Ordering::SeqCst), 0, "there is nothing to close");
}

#[test]
fn a_connection_without_a_handle_is_none() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn connect_ex(
        _: *const VixDiskLibConnectParams,
        _: Bool,
        _: *const c_char,
        _: *const c_char,
        _: *mut VixDiskLibConnection,
    ) -> VixError {
        VixError::OK
    }
    unsafe extern "C" fn disconnect(_: VixDiskLibConnection) -> VixError {
        CALLS.fetch_add(1, Ordering::SeqCst);
        VixError::OK
    }
    static API: Api = Api {
        table: FnTable {
            connect_ex,
            disconnect,
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let error = library.connect_local().expect_err("no handle");
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Other, Operation::Connect)
    );
    assert_eq!(CALLS.load(Ordering::SeqCst), 0, "there is nothing to end");
}
