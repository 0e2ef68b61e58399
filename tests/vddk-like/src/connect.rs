//! Initialising and connecting. A connection to a server is always made: what is wrong with it shows at `Open`.
//!
//! There is nothing behind a server, unless `VDDK_LIKE_DATASTORE` names a folder: its files are then those of every
//! datastore, `[any] vm/disk.vmdk` being `vm/disk.vmdk` in it.

use std::collections::HashSet;
use std::env;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;

use parking_lot::Mutex;
use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::{
    Bool, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibGenericLogFunc,
    VixDiskLibHandle, VixError,
};

use crate::access;
use crate::log;
use crate::release::Release;

const TRANSPORT_MODES: &CStr = c"file:san:hotadd:nbdssl:nbd";

/// Connections to servers.
static REMOTE: Mutex<Option<HashSet<usize>>> = Mutex::new(None);

/// The engine's connection for the files of datastores, once there is one.
static LOCAL: Mutex<usize> = Mutex::new(0);

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn init_ex(
    major: u32,
    minor: u32,
    log: VixDiskLibGenericLogFunc,
    warn: VixDiskLibGenericLogFunc,
    panic: VixDiskLibGenericLogFunc,
    lib_dir: *const c_char,
    config_file: *const c_char,
) -> VixError {
    log::set(warn);
    // SAFETY: passed on.
    unsafe { (ENGINE.init_ex)(major, minor, log, warn, panic, lib_dir, config_file) }
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn exit() {
    access::check_ended();
    // SAFETY: passed on.
    unsafe { (ENGINE.exit)() };
    *LOCAL.lock() = 0;
    log::set(None);
}

/// # Safety
/// None.
pub(crate) unsafe extern "C" fn list_transport_modes() -> *const c_char {
    TRANSPORT_MODES.as_ptr()
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn connect_ex(
    params: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    transport_modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    // SAFETY: the caller's promise for parameters is the engine's.
    let is_remote = unsafe { names_server(params) };
    // Whether a connection can be made now at all shows with a local one.
    let params = if is_remote { ptr::null() } else { params };
    // SAFETY: passed on, but for the parameters, which may be null.
    let answer =
        unsafe { (ENGINE.connect_ex)(params, read_only, snapshot, transport_modes, connection) };
    if !is_remote || !answer.is_ok() {
        return Release::current().code(answer);
    }
    // SAFETY: the engine has written a connection there.
    let local = unsafe { connection.read() };
    // SAFETY: a connection of the engine, which nobody else knows.
    unsafe { (ENGINE.disconnect)(local) };
    let mut remote = REMOTE.lock();
    let remote = remote.get_or_insert_default();
    // No address of the engine's handles, which are marked in their high bits.
    let made = 0x1000 + remote.len();
    remote.insert(made);
    // SAFETY: the engine has written there just now.
    unsafe { connection.write(ptr::without_provenance_mut(made)) };
    VixError::OK
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn disconnect(connection: VixDiskLibConnection) -> VixError {
    if is_remote(connection) {
        return VixError::OK;
    }
    // SAFETY: passed on.
    Release::current().code(unsafe { (ENGINE.disconnect)(connection) })
}

/// # Safety
/// As the engine's, for parameters.
unsafe fn names_server(params: *const VixDiskLibConnectParams) -> bool {
    // SAFETY: null, or parameters of the caller.
    let Some(params) = (unsafe { params.as_ref() }) else {
        return false;
    };
    // SAFETY: not null, so a string of the caller.
    !params.serverName.is_null() && unsafe { params.serverName.read() } != 0
}

fn is_remote(connection: VixDiskLibConnection) -> bool {
    let remote = REMOTE.lock();
    remote
        .as_ref()
        .is_some_and(|remote| remote.contains(&connection.addr()))
}

/// # Safety
/// As the engine's.
pub(crate) unsafe extern "C" fn open(
    connection: VixDiskLibConnection,
    path: *const c_char,
    flags: u32,
    handle: *mut VixDiskLibHandle,
) -> VixError {
    let release = Release::current();
    if is_remote(connection)
        && let Some(folder) = env::var_os("VDDK_LIKE_DATASTORE")
    {
        // SAFETY: a string, by the contract of the call.
        let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
        let name = path.split_once("] ").map_or(&*path, |(_, name)| name);
        let file = Path::new(&folder).join(name).into_os_string();
        let file = CString::new(file.into_encoded_bytes()).unwrap_or_default();
        // SAFETY: the engine's connection; the rest is passed on.
        return release.code(unsafe { (ENGINE.open)(local(), file.as_ptr(), flags, handle) });
    }
    if is_remote(connection) {
        log::line(
            "SSLVerifyCertAgainstSystemStore: The remote host certificate has these problems: thumbprint mismatch",
        );
        // SAFETY: an output, by the contract of the call.
        unsafe { handle.write(ptr::null_mut()) };
        return release.code(VixError::FAIL);
    }
    // SAFETY: passed on.
    release.code(unsafe { (ENGINE.open)(connection, path, flags, handle) })
}

/// The engine's connection for the files of datastores.
fn local() -> VixDiskLibConnection {
    let mut local = LOCAL.lock();
    if *local == 0 {
        let mut connection = ptr::null_mut();
        // SAFETY: no parameters mean the files of this machine; the output is writable.
        let answer = unsafe {
            (ENGINE.connect_ex)(
                ptr::null(),
                0,
                ptr::null(),
                ptr::null(),
                &raw mut connection,
            )
        };
        if answer != VixError::OK {
            log::die("no connection for the datastore");
        }
        *local = connection.addr();
    }
    ptr::without_provenance_mut(*local)
}
