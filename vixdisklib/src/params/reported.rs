//! The parameters that the library says a connection uses.

use std::ffi::{CStr, c_char};
use std::mem::offset_of;
use std::ptr;
use std::slice;

use vixdisklib_sys::{
    VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType, VixDiskLibSpecType,
};
use zeroize::Zeroize as _;

use super::{Credentials, Spec};
use crate::api::Api;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::secret::Secret;

/// What the library says a connection uses; see [`Connection::connect_params`](crate::Connection::connect_params).
///
/// It may differ from what was given: the library fills in what it chose itself, and may leave out what it does not
/// need. Secrets are wiped when it is dropped, and do not show in `Debug`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReportedParams {
    /// What the connection is for; `None` if it is of a kind that this crate does not know.
    pub spec: Option<Spec>,
    /// The server.
    pub server: Option<String>,
    /// The fingerprint of its certificate.
    pub thumbprint: Option<String>,
    /// Who logged in; `None` if nobody did, or if it is of a kind that this crate does not know.
    pub credentials: Option<Credentials>,
    /// The port of the web service; `None` for the usual one.
    pub port: Option<u16>,
    /// The port of the data service; `None` for the usual one.
    pub nfc_port: Option<u16>,
}

/// `VixDiskLib_GetConnectParams`; runs on the control thread. `connection` is live.
pub(crate) fn read_back(api: &Api, connection: VixDiskLibConnection) -> Result<ReportedParams> {
    let operation = Operation::ConnectParams;
    let Some(get) = api.table.get_connect_params else {
        let text = "the library has no call for it, VDDK 6.5 does";
        return Err(Error::new(ErrorKind::Unsupported, operation, text));
    };
    let mut copy = ptr::null_mut();
    // SAFETY: the connection is live, the output writable.
    api.call(operation, |_| unsafe { get(connection, &raw mut copy) })?;
    if copy.is_null() {
        let text = "the library gave no parameters";
        return Err(Error::new(ErrorKind::Other, operation, text));
    }
    // SAFETY: not null, so a copy of its own with all of its strings, which is freed below and not before.
    let params = unsafe { read_and_wipe(copy, api.table.allocate_connect_params.is_some()) };
    // SAFETY: from the partner of this function, which frees the strings too; nothing refers to it any more.
    unsafe { (api.table.free_connect_params)(copy) };
    Ok(params)
}

/// Reads the structure, and overwrites the secrets in it.
///
/// # Safety
/// `copy` is a structure of the library's making with null or C strings of its own, which nobody else refers to. It
/// ends before `reserved` unless it `is_long`.
unsafe fn read_and_wipe(copy: *mut VixDiskLibConnectParams, is_long: bool) -> ReportedParams {
    let readable = if is_long {
        size_of::<VixDiskLibConnectParams>()
    } else {
        offset_of!(VixDiskLibConnectParams, reserved)
    };
    let mut params = VixDiskLibConnectParams::default();
    // SAFETY: the caller vouches for `readable` bytes; `params` is ours and has room for them; any bytes make valid
    // fields: integers, pointers and open enums.
    unsafe {
        ptr::copy_nonoverlapping(copy.cast::<u8>(), (&raw mut params).cast::<u8>(), readable);
    }
    // SAFETY: the strings are as the caller promises.
    let credentials = unsafe { take_credentials(&params) };
    let spec = match params.specType {
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX => {
            // SAFETY: null or a C string.
            match unsafe { optional(params.vmxSpec) } {
                None => Some(Spec::Local),
                Some(text) => Spec::from_vmx_spec(&text),
            }
        }
        VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT => {
            // SAFETY: the member that `specType` names.
            let object = unsafe { params.spec.vStorageObjSpec };
            Some(Spec::Fcd {
                // SAFETY: null or a C string.
                id: unsafe { optional(object.id) }.unwrap_or_default(),
                // SAFETY: null or a C string.
                datastore: unsafe { optional(object.datastoreMoRef) }.unwrap_or_default(),
                // SAFETY: null or a C string.
                snapshot: unsafe { optional(object.ssId) },
            })
        }
        // Its number may mean another kind in other releases, so the pointers behind it are not followed.
        _ => None,
    };
    let port = |port: u32| u16::try_from(port).ok().filter(|port| *port != 0);
    ReportedParams {
        spec,
        // SAFETY: null or a C string.
        server: unsafe { optional(params.serverName) },
        // SAFETY: null or a C string.
        thumbprint: unsafe { optional(params.thumbPrint) },
        credentials,
        port: port(params.port),
        nfc_port: port(params.nfcHostPort),
    }
}

/// # Safety
/// The strings that `credType` makes valid are null or C strings that nobody else refers to.
unsafe fn take_credentials(params: &VixDiskLibConnectParams) -> Option<Credentials> {
    match params.credType {
        VixDiskLibCredType::VIXDISKLIB_CRED_UID => {
            // SAFETY: the member that `credType` names.
            let uid = unsafe { params.creds.uid };
            // SAFETY: null or a C string.
            let user = unsafe { optional(uid.userName) };
            // SAFETY: null or a C string that nobody else refers to.
            let password = unsafe { take_secret(uid.password) };
            (user.is_some() || !password.expose().is_empty()).then(|| Credentials::Password {
                user: user.unwrap_or_default(),
                password,
            })
        }
        VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID => {
            // SAFETY: the member that `credType` names.
            let session = unsafe { params.creds.sessionId };
            Some(Credentials::Session {
                // SAFETY: null or a C string that nobody else refers to.
                cookie: unsafe { take_secret(session.cookie) },
                // SAFETY: null or a C string.
                user: unsafe { optional(session.userName) }.unwrap_or_default(),
                // SAFETY: null or a C string that nobody else refers to.
                key: unsafe { take_secret(session.key) },
            })
        }
        VixDiskLibCredType::VIXDISKLIB_CRED_SSPI => Some(Credentials::Sspi),
        _ => None,
    }
}

/// A string that is not empty.
///
/// # Safety
/// `text` is null or a C string.
unsafe fn optional(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string, as the caller promises.
    let text = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    (!text.is_empty()).then_some(text)
}

/// The secret in a string of the library, which is zeroes afterwards. Null counts as empty.
///
/// # Safety
/// `text` is null or a C string that nobody else refers to.
unsafe fn take_secret(text: *mut c_char) -> Secret {
    if text.is_null() {
        return Secret::copy(c"");
    }
    // SAFETY: not null, so a C string, as the caller promises.
    let secret = Secret::copy(unsafe { CStr::from_ptr(text) });
    let length = secret.expose().count_bytes();
    // SAFETY: the characters before the NUL, which the caller lets us change; no other reference to them exists.
    unsafe { slice::from_raw_parts_mut(text.cast::<u8>(), length) }.zeroize();
    secret
}
