//! The order of preparing, connecting and ending, and cleaning up.

use std::ffi::{CStr, c_char};
use std::thread;

use parking_lot::Mutex;
use vixdisklib_sys::{
    Bool, FnTable, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibHandle, VixError,
};

use super::{TABLE, VDDK, bytes, flat, start};
use crate::api::Api;
use crate::connection::{ConnectOptions, OpenFlags};
use crate::error::{Context, ErrorKind, Operation};
use crate::library::{Backend, Library};
use crate::params::{ConnectParams, Credentials, Server, Spec};

/// Tests that share the fake run one after the other.
static TURN: Mutex<()> = Mutex::new(());
static CALLS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What the fake answers.
static PREPARED: Mutex<VixError> = Mutex::new(VixError::OK);
static ENDED: Mutex<VixError> = Mutex::new(VixError::OK);

fn note(call: impl Into<String>) {
    let thread = thread::current();
    assert_eq!(thread.name(), Some("vixdisklib-control"));
    CALLS.lock().push(call.into());
}

fn calls() -> String {
    CALLS.lock().drain(..).collect::<Vec<_>>().join(" ")
}

unsafe fn identity(text: *const c_char) -> String {
    // SAFETY: a C string.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .expect("UTF-8")
        .to_owned()
}

unsafe extern "C" fn prepare(
    params: *const VixDiskLibConnectParams,
    name: *const c_char,
) -> VixError {
    // SAFETY: complete parameters.
    assert!(!unsafe { (*params).serverName }.is_null());
    // SAFETY: a C string.
    note(format!("prepare({})", unsafe { identity(name) }));
    *PREPARED.lock()
}

unsafe extern "C" fn end(params: *const VixDiskLibConnectParams, name: *const c_char) -> VixError {
    // SAFETY: complete parameters.
    assert!(!unsafe { (*params).serverName }.is_null());
    // SAFETY: a C string.
    note(format!("end({})", unsafe { identity(name) }));
    *ENDED.lock()
}

/// Connects to files of this machine, whatever the parameters say.
unsafe extern "C" fn connect_ex(
    _: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    note("connect");
    let local = VixDiskLibConnectParams::default();
    // SAFETY: passed on.
    unsafe { (TABLE.connect_ex)(&raw const local, read_only, snapshot, modes, connection) }
}

unsafe extern "C" fn disconnect(connection: VixDiskLibConnection) -> VixError {
    note("disconnect");
    // SAFETY: passed on.
    unsafe { (TABLE.disconnect)(connection) }
}

unsafe extern "C" fn open(
    connection: VixDiskLibConnection,
    path: *const c_char,
    flags: u32,
    handle: *mut VixDiskLibHandle,
) -> VixError {
    note("open");
    // SAFETY: passed on.
    unsafe { (TABLE.open)(connection, path, flags, handle) }
}

unsafe extern "C" fn close(handle: VixDiskLibHandle) -> VixError {
    note("close");
    // SAFETY: passed on.
    unsafe { (TABLE.close)(handle) }
}

unsafe extern "C" fn exit() {
    note("exit");
    // SAFETY: passed on.
    unsafe { (TABLE.exit)() }
}

unsafe extern "C" fn cleanup(
    params: *const VixDiskLibConnectParams,
    cleaned: *mut u32,
    remaining: *mut u32,
) -> VixError {
    // SAFETY: complete parameters.
    let raw = unsafe { *params };
    assert!(raw.vmxSpec.is_null() && !raw.serverName.is_null());
    // SAFETY: a C string.
    note(format!("cleanup({})", unsafe { identity(raw.serverName) }));
    // SAFETY: writable.
    unsafe { cleaned.write(2) };
    let left = u32::from(*ENDED.lock() != VixError::OK);
    // SAFETY: writable.
    unsafe { remaining.write(left) };
    *ENDED.lock()
}

const NOTING: FnTable = FnTable {
    prepare_for_access: Some(prepare),
    end_access: Some(end),
    connect_ex,
    disconnect,
    open,
    close,
    exit,
    cleanup: Some(cleanup),
    ..VDDK
};

static API: Api = Api {
    table: NOTING,
    major: Some(8),
};

fn server() -> Server {
    Server::builder("vc.example.com")
        .credentials(Credentials::Sspi)
        .build()
        .expect("complete")
}

fn params() -> ConnectParams {
    let moref = "vm-16".to_owned();
    ConnectParams::on(&server(), Spec::Vm { moref }).expect("legal")
}

/// Sets the answers of the fake for a test.
fn answer(prepared: VixError, ended: VixError) {
    *PREPARED.lock() = prepared;
    *ENDED.lock() = ended;
    CALLS.lock().clear();
}

#[test]
fn access_ends_after_the_disks_and_the_connection_whatever_goes_first() {
    let _turn = TURN.lock();
    answer(VixError::OK, VixError::OK);
    let (_folder, path) = flat(&bytes(8));
    let orders: [&dyn Fn(_, _, _); 3] = [
        &|access, connection, disk| drop((access, connection, disk)),
        &|access, connection, disk| drop((disk, connection, access)),
        &|access, connection, disk| drop((connection, access, disk)),
    ];
    for give_up in orders {
        let library = start(&API);
        let access = library
            .prepare_for_access(params(), "nightly")
            .expect("prepared");
        assert!(access.refusal().is_none());
        let connection = access.connect(&ConnectOptions::new()).expect("connects");
        let disk = connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .expect("opens");
        drop(library);
        give_up(access, connection, disk);
        assert_eq!(
            calls(),
            "prepare(nightly) connect open close disconnect end(nightly) exit"
        );
    }
}

#[test]
fn access_ends_once_and_says_what_went_wrong() {
    let _turn = TURN.lock();
    answer(VixError::OK, VixError::OK);
    let library = start(&API);
    let prepare = || library.prepare_for_access(params(), "a").expect("prepared");
    prepare().end().expect("ended");
    assert_eq!(calls(), "prepare(a) end(a)");

    let access = prepare();
    let connection = access.connect(&ConnectOptions::new()).expect("connects");
    let error = access.end().expect_err("connected");
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert_eq!(calls(), "prepare(a) connect");
    drop(connection);
    assert_eq!(calls(), "disconnect end(a)");

    answer(VixError::OK, VixError::FAIL);
    let error = prepare().end().expect_err("fails");
    assert_eq!(
        (error.code(), error.operation()),
        (Some(VixError::FAIL), Operation::EndAccess)
    );
    assert!(error.to_string().contains("vc.example.com"), "{error}");
    assert_eq!(calls(), "prepare(a) end(a)", "not again on drop");
}

#[test]
fn access_ends_after_a_failed_preparation_too() {
    let _turn = TURN.lock();
    answer(VixError::FAIL, VixError::OK);
    let library = start(&API);
    let error = library
        .prepare_for_access(params(), "a")
        .expect_err("fails");
    assert_eq!(
        (error.code(), error.operation()),
        (Some(VixError::FAIL), Operation::PrepareForAccess)
    );
    assert_eq!(calls(), "prepare(a) end(a)");

    let access = library
        .prepare_for_access_if_possible(params(), "a")
        .expect("goes on");
    let refusal = access.refusal().expect("kept");
    assert_eq!(refusal.code(), Some(VixError::FAIL));
    drop(access.connect(&ConnectOptions::new()).expect("connects"));
    access.end().expect("ended");
    assert_eq!(calls(), "prepare(a) connect disconnect end(a)");
}

#[test]
fn a_library_without_the_calls_says_so() {
    static WITHOUT: Api = Api {
        table: FnTable {
            // One that could never end is as good as none.
            end_access: None,
            cleanup: None,
            ..NOTING
        },
        major: Some(6),
    };
    let _turn = TURN.lock();
    answer(VixError::OK, VixError::OK);
    let library = start(&WITHOUT);
    let error = library.prepare_for_access(params(), "a").expect_err("none");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
    let error = library.end_access(&params(), "a").expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = library.cleanup(&server()).expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let access = library
        .prepare_for_access_if_possible(params(), "a")
        .expect("goes on");
    access.end().expect("nothing to end");
    assert_eq!(calls(), "");
}

#[test]
fn access_of_a_process_that_died_is_ended_alone() {
    let _turn = TURN.lock();
    answer(VixError::OK, VixError::OK);
    let library = start(&API);
    library.end_access(&params(), "crashed").expect("ended");
    assert_eq!(calls(), "end(crashed)");
    for bad in ["", "a\0", &"x".repeat(51)] {
        let kinds = [
            library
                .end_access(&params(), bad)
                .map_err(|error| error.kind()),
            library
                .prepare_for_access(params(), bad)
                .map(drop)
                .map_err(|error| error.kind()),
        ];
        assert_eq!(kinds, [Err(ErrorKind::InvalidArgument); 2]);
    }
    assert_eq!(calls(), "");
}

#[test]
fn a_clean_up_counts() {
    let _turn = TURN.lock();
    answer(VixError::OK, VixError::OK);
    let library = start(&API);
    let cleaned = library.cleanup(&server()).expect("cleaned up");
    assert_eq!((cleaned.cleaned_up, cleaned.remaining), (2, 0));
    assert_eq!(calls(), "cleanup(vc.example.com)");

    answer(VixError::OK, VixError::FAIL);
    let error = library.cleanup(&server()).expect_err("one is left");
    let counts = error.context().iter().find_map(|context| match context {
        Context::Cleaned(cleaned) => Some((cleaned.cleaned_up, cleaned.remaining)),
        _ => None,
    });
    assert_eq!(counts, Some((2, 1)));
    assert!(
        error.to_string().contains("2 cleaned up, 1 remaining"),
        "{error}"
    );
}

#[test]
fn a_library_cleans_up_when_it_starts() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let builder = || {
        let configuration = crate::Configuration::new().temporary_directory(folder.path());
        Library::builder(Backend::Embedded)
            .configuration(configuration)
            .clean_up_on_start(&server())
    };
    answer(VixError::OK, VixError::OK);
    let library = builder().start(&API, None).expect("starts");
    let [Ok(cleaned)] = library.cleaned_on_start() else {
        panic!("one server, cleaned up");
    };
    assert_eq!(cleaned.cleaned_up, 2);
    drop(library);
    assert_eq!(calls(), "cleanup(vc.example.com) exit");

    // A server that does not answer is no reason not to start.
    answer(VixError::OK, VixError::FAIL);
    let library = builder().start(&API, None).expect("starts");
    assert!(matches!(library.cleaned_on_start(), [Err(_)]));
    drop(library);
    assert!(start(&API).cleaned_on_start().is_empty());
}
