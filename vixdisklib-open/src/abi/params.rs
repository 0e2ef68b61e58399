//! Connection parameters in C: giving them out, taking them back, copying them.

use std::ffi::{CStr, CString, c_char};
use std::mem::offset_of;
use std::ptr;

use vixdisklib_sys::{
    VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType, VixDiskLibCreds,
    VixDiskLibSessionIdCreds, VixDiskLibSpec, VixDiskLibSpecType, VixDiskLibUidPasswdCreds,
    VixDiskLibVStorageObjectSpec, VixError,
};

use super::boundary::{boundary, call};
use super::connect::handle;
use super::pointer;
use crate::lent::Lent;
use crate::library::current;
use crate::params::{ConnectParams, Credentials, Secret, Spec};

/// The parameters that `AllocateConnectParams` and `GetConnectParams` have given out.
static PARAMS: Lent<ParamsBlock> = Lent::new();

/// Parameters in C, and what they point to if that is ours.
#[derive(Debug)]
struct ParamsBlock {
    /// One element; in a vector, because its address is given out and must not move with this structure.
    params: Vec<VixDiskLibConnectParams>,
    /// In a box, because `params` points into it. Wiped where secret when this structure is dropped.
    _strings: Box<ConnectParams>,
}

// SAFETY: the pointers in `params` are the caller's, which we do not follow here, or lead to `_strings`, which no
// thread is tied to. That callers do not use parameters on one thread and free them on another at once is the contract
// of `FreeConnectParams`.
unsafe impl Send for ParamsBlock {}

/// `VixDiskLib_AllocateConnectParams`: zeros, which connect to local disks. Works before `InitEx`.
///
/// # Safety
/// None.
pub(crate) unsafe extern "C" fn allocate_connect_params() -> *mut VixDiskLibConnectParams {
    boundary("VixDiskLib_AllocateConnectParams", ptr::null_mut(), || {
        lend(VixDiskLibConnectParams::default(), Box::default())
    })
}

/// `VixDiskLib_FreeConnectParams`. Strings that the caller stored in there stay the caller's. Null, and parameters in
/// the caller's own memory, are left alone.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_connect_params(params: *mut VixDiskLibConnectParams) {
    boundary("VixDiskLib_FreeConnectParams", (), || {
        drop(PARAMS.take_back(params));
    });
}

/// `VixDiskLib_GetConnectParams`: a copy of its own, strings included, that `FreeConnectParams` wipes and frees.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn get_connect_params(
    connection: VixDiskLibConnection,
    params: *mut *mut VixDiskLibConnectParams,
) -> VixError {
    call("VixDiskLib_GetConnectParams", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(params, "connectParams") }?;
        let output = output.write(ptr::null_mut());
        let connection = current()?.connection(handle(connection))?;
        let mut strings = Box::new(connection.params.clone());
        *output = lend(c_params(&mut strings), strings);
        Ok(())
    })
}

fn lend(
    params: VixDiskLibConnectParams,
    strings: Box<ConnectParams>,
) -> *mut VixDiskLibConnectParams {
    let mut block = ParamsBlock {
        params: vec![params],
        _strings: strings,
    };
    PARAMS.lend(block.params.as_mut_ptr(), block)
}

/// The C form of parameters, pointing into them. Whoever gets it may overwrite the secrets, as careful callers do.
fn c_params(params: &mut ConnectParams) -> VixDiskLibConnectParams {
    let (cred_type, creds) = match &mut params.credentials {
        Credentials::Password { user, password } => (
            VixDiskLibCredType::VIXDISKLIB_CRED_UID,
            VixDiskLibCreds {
                uid: VixDiskLibUidPasswdCreds {
                    userName: text_pointer(user),
                    password: secret_pointer(password),
                },
            },
        ),
        Credentials::Session { cookie, user, key } => (
            VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID,
            VixDiskLibCreds {
                sessionId: VixDiskLibSessionIdCreds {
                    cookie: secret_pointer(cookie),
                    userName: text_pointer(user),
                    key: secret_pointer(key),
                },
            },
        ),
        Credentials::Other(kind) => (*kind, VixDiskLibCreds::default()),
    };
    let (spec_type, spec) = match &params.spec {
        Spec::StorageObject {
            id,
            datastore,
            snapshot,
        } => (
            VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT,
            VixDiskLibSpec {
                vStorageObjSpec: VixDiskLibVStorageObjectSpec {
                    id: text_pointer(id),
                    datastoreMoRef: text_pointer(datastore),
                    ssId: text_pointer(snapshot),
                },
            },
        ),
        Spec::Other(kind) => (*kind, VixDiskLibSpec::default()),
    };
    VixDiskLibConnectParams {
        vmxSpec: text_pointer(&params.vmx_spec),
        serverName: text_pointer(&params.server),
        thumbPrint: text_pointer(&params.thumbprint),
        credType: cred_type,
        creds,
        port: params.port,
        nfcHostPort: params.nfc_port,
        vimApiVer: text_pointer(&params.api_version),
        spec,
        specType: spec_type,
        ..VixDiskLibConnectParams::default()
    }
}

fn text_pointer(text: &Option<CString>) -> *mut c_char {
    text.as_ref()
        .map_or(ptr::null_mut(), |text| text.as_ptr().cast_mut())
}

fn secret_pointer(text: &mut Option<Secret>) -> *mut c_char {
    text.as_mut().map_or(ptr::null_mut(), Secret::as_mut_ptr)
}

/// A deep copy of a caller's parameters; null gives those of a local connection.
///
/// Callers built for releases before 6.7 have a shorter structure. Its tail is therefore read only from memory that
/// came from `AllocateConnectParams`, which those releases did not have.
///
/// # Safety
/// The contract of [`abi`](super), for connection parameters.
pub(super) unsafe fn read_params(pointer: *const VixDiskLibConnectParams) -> ConnectParams {
    if pointer.is_null() {
        return ConnectParams::default();
    }
    let readable = if PARAMS.contains(pointer) {
        size_of::<VixDiskLibConnectParams>()
    } else {
        offset_of!(VixDiskLibConnectParams, reserved)
    };
    let mut params = VixDiskLibConnectParams::default();
    // SAFETY: the contract vouches for the fields before `reserved`, our own loan for all of them; `params` is ours,
    // as large as the whole, and any bytes make valid fields: integers, pointers and open enums.
    unsafe {
        ptr::copy_nonoverlapping(
            pointer.cast::<u8>(),
            (&raw mut params).cast::<u8>(),
            readable,
        );
    }
    let credentials = match params.credType {
        VixDiskLibCredType::VIXDISKLIB_CRED_UID => {
            // SAFETY: the contract makes the member valid that `credType` names; pointers may have any value.
            let uid = unsafe { params.creds.uid };
            Credentials::Password {
                // SAFETY: the contract of `abi`, for a string.
                user: unsafe { copy_text(uid.userName) },
                // SAFETY: the contract of `abi`, for a string.
                password: unsafe { copy_secret(uid.password) },
            }
        }
        VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID => {
            // SAFETY: the contract makes the member valid that `credType` names; pointers may have any value.
            let session = unsafe { params.creds.sessionId };
            Credentials::Session {
                // SAFETY: the contract of `abi`, for a string.
                cookie: unsafe { copy_secret(session.cookie) },
                // SAFETY: the contract of `abi`, for a string.
                user: unsafe { copy_text(session.userName) },
                // SAFETY: the contract of `abi`, for a string.
                key: unsafe { copy_secret(session.key) },
            }
        }
        other => Credentials::Other(other),
    };
    let spec = match params.specType {
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT => {
            // SAFETY: as for the credentials, with `specType`.
            let object = unsafe { params.spec.vStorageObjSpec };
            Spec::StorageObject {
                // SAFETY: the contract of `abi`, for a string.
                id: unsafe { copy_text(object.id) },
                // SAFETY: the contract of `abi`, for a string.
                datastore: unsafe { copy_text(object.datastoreMoRef) },
                // SAFETY: the contract of `abi`, for a string.
                snapshot: unsafe { copy_text(object.ssId) },
            }
        }
        other => Spec::Other(other),
    };
    ConnectParams {
        // SAFETY: the contract of `abi`, for a string.
        vmx_spec: unsafe { copy_text(params.vmxSpec) },
        // SAFETY: the contract of `abi`, for a string.
        server: unsafe { copy_text(params.serverName) },
        // SAFETY: the contract of `abi`, for a string.
        thumbprint: unsafe { copy_text(params.thumbPrint) },
        credentials,
        port: params.port,
        nfc_port: params.nfcHostPort,
        // SAFETY: the contract of `abi`, for a string.
        api_version: unsafe { copy_text(params.vimApiVer) },
        spec,
    }
}

/// # Safety
/// The contract of [`abi`](super), for a string.
unsafe fn copy_text(text: *const c_char) -> Option<CString> {
    // SAFETY: the same promise is passed on.
    unsafe { pointer::optional_text(text) }.map(CStr::to_owned)
}

/// # Safety
/// The contract of [`abi`](super), for a string.
unsafe fn copy_secret(text: *const c_char) -> Option<Secret> {
    // SAFETY: the same promise is passed on.
    unsafe { pointer::optional_text(text) }.map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings that live as long as the test, as a caller's do.
    fn full_params() -> VixDiskLibConnectParams {
        VixDiskLibConnectParams {
            vmxSpec: c"moref=vm-16".as_ptr().cast_mut(),
            serverName: c"vcenter.example".as_ptr().cast_mut(),
            thumbPrint: c"AA:BB".as_ptr().cast_mut(),
            credType: VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID,
            creds: VixDiskLibCreds {
                sessionId: VixDiskLibSessionIdCreds {
                    cookie: c"cookie".as_ptr().cast_mut(),
                    userName: c"backup".as_ptr().cast_mut(),
                    key: c"key".as_ptr().cast_mut(),
                },
            },
            port: 443,
            nfcHostPort: 902,
            vimApiVer: c"8".as_ptr().cast_mut(),
            specType: VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT,
            spec: VixDiskLibSpec {
                vStorageObjSpec: VixDiskLibVStorageObjectSpec {
                    id: c"fcd-1".as_ptr().cast_mut(),
                    datastoreMoRef: c"datastore-11".as_ptr().cast_mut(),
                    ssId: ptr::null_mut(),
                },
            },
            ..VixDiskLibConnectParams::default()
        }
    }

    #[test]
    fn a_copy_of_a_copy_says_the_same() {
        // SAFETY: allocates, and nothing else.
        let lent = unsafe { allocate_connect_params() };
        // SAFETY: just allocated, and ours alone.
        unsafe { lent.write(full_params()) };
        // SAFETY: complete parameters with strings that live for ever.
        let first = unsafe { read_params(lent) };
        // SAFETY: frees what was allocated above.
        unsafe { free_connect_params(lent) };
        assert_eq!(first.server.as_deref(), Some(c"vcenter.example"));
        assert_eq!(
            first.spec,
            Spec::StorageObject {
                id: Some(c"fcd-1".to_owned()),
                datastore: Some(c"datastore-11".to_owned()),
                snapshot: None,
            }
        );
        let mut strings = Box::new(first.clone());
        let lent = lend(c_params(&mut strings), strings);
        // SAFETY: complete parameters that point into strings on loan with them.
        let second = unsafe { read_params(lent) };
        // SAFETY: frees what was lent above.
        unsafe { free_connect_params(lent) };
        assert_eq!(first, second);
    }

    #[test]
    fn the_tail_of_a_callers_own_structure_is_not_read() {
        let params = full_params();
        // SAFETY: complete parameters with strings that live for ever.
        let read = unsafe { read_params(&raw const params) };
        assert_eq!(read.vmx_spec.as_deref(), Some(c"moref=vm-16"));
        assert_eq!(read.api_version.as_deref(), Some(c"8"));
        assert_eq!(
            read.spec,
            Spec::Other(VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX)
        );
    }

    #[test]
    fn the_shortest_structure_ends_where_vddk_6_0_ended() {
        #[cfg(not(windows))]
        assert_eq!(offset_of!(VixDiskLibConnectParams, reserved), 80);
        #[cfg(windows)]
        assert_eq!(offset_of!(VixDiskLibConnectParams, reserved), 72);
    }

    #[test]
    fn foreign_parameters_are_not_freed() {
        let mut own = VixDiskLibConnectParams::default();
        // SAFETY: an address that is not on loan is only looked up.
        unsafe { free_connect_params(&raw mut own) };
        // SAFETY: null is only looked up.
        unsafe { free_connect_params(ptr::null_mut()) };
    }
}
