//! A library that notes what it is given to connect with.

use std::ffi::{CStr, c_char};
use std::ptr;

use parking_lot::Mutex;
use vixdisklib_sys::{
    Bool, FnTable, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType,
    VixDiskLibSpecType, VixError,
};

use super::super::VDDK;

/// One call with parameters, as the library saw it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) vmx: Option<String>,
    pub(super) server: Option<String>,
    pub(super) thumbprint: Option<String>,
    pub(super) credentials: (u32, Vec<Option<String>>),
    pub(super) ports: (u32, u32),
    pub(super) spec: (u32, Vec<Option<String>>),
    pub(super) read_only: bool,
    pub(super) snapshot: Option<String>,
    pub(super) modes: Option<String>,
}

/// Tests that share the fake run one after the other.
pub(super) static TURN: Mutex<()> = Mutex::new(());
pub(super) static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
pub(super) static FREED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string, as the library takes them.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_str().expect("UTF-8").to_owned())
}

pub(super) unsafe fn see(params: *const VixDiskLibConnectParams) -> Seen {
    // SAFETY: complete parameters.
    let raw = unsafe { *params };
    // SAFETY: all members are pointers, whatever their values.
    let session = unsafe { raw.creds.sessionId };
    let credentials = match raw.credType {
        VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID => {
            vec![session.cookie, session.userName, session.key]
        }
        VixDiskLibCredType(0) => vec![],
        // The two pointers of the shorter member lie where these do.
        _ => vec![session.cookie, session.userName],
    };
    // SAFETY: as above.
    let object = unsafe { raw.spec.vStorageObjSpec };
    let spec = match raw.specType {
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX => vec![],
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT => {
            vec![object.id, object.datastoreMoRef, object.ssId]
        }
        _ => vec![object.id, object.datastoreMoRef],
    };
    // SAFETY: null or C strings.
    let texts =
        |texts: Vec<*mut c_char>| texts.into_iter().map(|raw| unsafe { text(raw) }).collect();
    Seen {
        // SAFETY: null or a C string.
        vmx: unsafe { text(raw.vmxSpec) },
        // SAFETY: null or a C string.
        server: unsafe { text(raw.serverName) },
        // SAFETY: null or a C string.
        thumbprint: unsafe { text(raw.thumbPrint) },
        credentials: (raw.credType.0, texts(credentials)),
        ports: (raw.port, raw.nfcHostPort),
        spec: (raw.specType.0, texts(spec)),
        ..Seen::default()
    }
}

pub(super) unsafe extern "C" fn connect_ex(
    params: *const VixDiskLibConnectParams,
    read_only: Bool,
    snapshot: *const c_char,
    modes: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    let seen = Seen {
        read_only: read_only != 0,
        // SAFETY: null or a C string.
        snapshot: unsafe { text(snapshot) },
        // SAFETY: null or a C string.
        modes: unsafe { text(modes) },
        // SAFETY: passed on.
        ..unsafe { see(params) }
    };
    SEEN.lock().push(seen);
    // The parameters themselves are the connection, for `get_connect_params`.
    // SAFETY: writable.
    unsafe { connection.write(params.cast_mut().cast()) };
    VixError::OK
}

pub(super) unsafe extern "C" fn disconnect(_: VixDiskLibConnection) -> VixError {
    VixError::OK
}

pub(super) unsafe extern "C" fn allocate() -> *mut VixDiskLibConnectParams {
    Box::into_raw(Box::default())
}

/// A deep copy, as VDDK gives it.
pub(super) unsafe extern "C" fn get_connect_params(
    connection: VixDiskLibConnection,
    copy: *mut *mut VixDiskLibConnectParams,
) -> VixError {
    // SAFETY: what `connect_ex` gave out.
    let mut params = unsafe { *connection.cast::<VixDiskLibConnectParams>() };
    for text in strings(&mut params) {
        // SAFETY: not null, so a C string.
        let mut copy = unsafe { CStr::from_ptr(*text) }
            .to_bytes_with_nul()
            .to_vec();
        *text = copy.as_mut_ptr().cast();
        COPIES.lock().push(copy);
    }
    // SAFETY: writable.
    unsafe { copy.write(Box::into_raw(Box::new(params))) };
    VixError::OK
}

/// The strings of parameters that are set.
pub(super) fn strings(params: &mut VixDiskLibConnectParams) -> Vec<&mut *mut c_char> {
    let mut strings = vec![
        &mut params.vmxSpec,
        &mut params.serverName,
        &mut params.thumbPrint,
    ];
    if params.credType != VixDiskLibCredType(0) {
        // SAFETY: all members are pointers, whatever their values; zero where a shorter one ends.
        let session = unsafe { &mut params.creds.sessionId };
        strings.extend([&mut session.cookie, &mut session.userName, &mut session.key]);
    }
    if params.specType != VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX {
        // SAFETY: as above.
        let object = unsafe { &mut params.spec.vStorageObjSpec };
        strings.extend([&mut object.id, &mut object.datastoreMoRef, &mut object.ssId]);
    }
    strings.retain(|text| !text.is_null());
    strings
}

/// Frees what `allocate` and `get_connect_params` gave; the secrets in a copy must have been wiped by then.
pub(super) unsafe extern "C" fn free_connect_params(params: *mut VixDiskLibConnectParams) {
    FREED.lock().push(params.addr());
    // SAFETY: from `Box::into_raw`.
    let mut params = unsafe { Box::from_raw(params) };
    if COPY_LEFT.lock().contains(&ptr::from_ref(&*params).addr()) {
        COPIES.lock().retain(|copy| {
            let address = copy.as_ptr().addr();
            strings(&mut params)
                .iter()
                .all(|text| text.addr() != address)
        });
    }
}

/// The copies that are given out, and their strings.
pub(super) static COPY_LEFT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
pub(super) static COPIES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub(super) const RECORDING: FnTable = FnTable {
    connect_ex,
    disconnect,
    allocate_connect_params: Some(allocate),
    free_connect_params,
    get_connect_params: Some(get_connect_params),
    ..VDDK
};
