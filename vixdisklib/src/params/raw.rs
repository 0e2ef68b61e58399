//! Parameters in C: a structure that the library reads, and the strings that it points to.

use std::ffi::{CStr, CString, c_char};
use std::mem;
use std::ptr;

use vixdisklib_sys::{VixDiskLibConnectParams, VixDiskLibCredType, VixDiskLibSpecType};

use super::{ConnectParams, CredentialText, Server, SpecText};
use crate::api::Api;
use crate::error::{Error, ErrorKind, Location, Operation, Result};
use crate::library::Library;

/// The user name that stands for the account of the process (Virtual Disk Programming Guide).
const SSPI_USER: &CStr = c"__sspi__";

/// The release from which on a datastore can be named (release notes of VDDK 8.0.1).
const DATASTORES_SINCE: [u32; 3] = [8, 0, 1];

/// Parameters that the library may read for as long as this lives.
///
/// It is dropped on any thread but the control thread, which frees the structure.
#[derive(Debug)]
pub(crate) struct RawParams {
    pointer: ParamsPointer,
    /// The structure points into these.
    params: ConnectParams,
    library: Library,
}

/// Where the structure lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParamsPointer(*mut VixDiskLibConnectParams);

// SAFETY: the structure is written once, before the pointer is shared; calls of the library then only read it.
unsafe impl Send for ParamsPointer {}
// SAFETY: as above.
unsafe impl Sync for ParamsPointer {}

impl ParamsPointer {
    /// For the library's calls; valid while the [`RawParams`] lives.
    pub(crate) fn get(self) -> *mut VixDiskLibConnectParams {
        self.0
    }
}

impl RawParams {
    /// The parameters in C.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the library does not know this kind of spec.
    pub(crate) fn new(library: &Library, params: ConnectParams) -> Result<Self> {
        require_spec(library, &params.spec)?;
        let api = library.api();
        let pointer = library.control(move || allocate(api).map(ParamsPointer))?;
        // SAFETY: `allocate` gave a whole structure that nobody else refers to yet.
        fill(unsafe { &mut *pointer.0 }, &params);
        Ok(Self {
            pointer,
            params,
            library: library.clone(),
        })
    }

    /// The parameters of a server without anything on it: `vmxSpec` is null.
    pub(crate) fn of_server(library: &Library, server: &Server) -> Result<Self> {
        let params = ConnectParams {
            spec: SpecText::Nothing,
            server: Some(server.clone()),
        };
        Self::new(library, params)
    }

    pub(crate) fn pointer(&self) -> ParamsPointer {
        self.pointer
    }

    pub(crate) fn params(&self) -> &ConnectParams {
        &self.params
    }

    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    /// What errors say of the server.
    pub(crate) fn location(&self) -> Location {
        Location {
            server: self.params.server().map(|server| server.name().to_owned()),
            snapshot: None,
        }
    }
}

impl Drop for RawParams {
    fn drop(&mut self) {
        let (api, pointer) = (self.library.api(), self.pointer);
        // In a forked child this is refused, and the structure stays where it is.
        let _ = self.library.control(move || {
            free(api, pointer);
            Ok(())
        });
    }
}

/// Parameters from the library where it has a call for it (6.7), since only those carry private state.
fn allocate(api: &Api) -> Result<*mut VixDiskLibConnectParams> {
    let Some(allocate) = api.table.allocate_connect_params else {
        // SAFETY: a structure of integers, pointers and unions of pointers, for all of which zero is valid.
        let zeroed: VixDiskLibConnectParams = unsafe { mem::zeroed() };
        return Ok(Box::into_raw(Box::new(zeroed)));
    };
    // SAFETY: the call takes nothing and may even come before initialisation.
    let params = unsafe { allocate() };
    if params.is_null() {
        let text = "no memory for the parameters";
        return Err(Error::new(
            ErrorKind::OutOfMemory,
            Operation::Configure,
            text,
        ));
    }
    Ok(params)
}

fn free(api: &Api, params: ParamsPointer) {
    if api.table.allocate_connect_params.is_some() {
        // SAFETY: the library allocated it; it frees the structure, not the strings, which `RawParams` owns.
        unsafe { (api.table.free_connect_params)(params.0) };
    } else {
        // SAFETY: made by `Box::into_raw` in `allocate`, and freed only in `RawParams::drop`.
        drop(unsafe { Box::from_raw(params.0) });
    }
}

/// A spec lies where libraries before VDDK 6.7 have nothing, and they read nothing there.
fn require_spec(library: &Library, spec: &SpecText) -> Result<()> {
    let missing = match spec {
        SpecText::Nothing | SpecText::Vmx(_) => None,
        _ if library.api().table.allocate_connect_params.is_none() => {
            Some("the library knows no first class disks and datastores, VDDK 6.7 does")
        }
        SpecText::Datastore { .. } if !library.is_since(DATASTORES_SINCE) => {
            Some("the library knows no specs of datastores, VDDK 8.0.1 does")
        }
        _ => None,
    };
    match missing {
        None => Ok(()),
        Some(text) => Err(Error::new(
            ErrorKind::Unsupported,
            Operation::Configure,
            text,
        )),
    }
}

/// Points the structure's fields at the strings of `params`.
fn fill(raw: &mut VixDiskLibConnectParams, params: &ConnectParams) {
    if let Some(server) = &params.server {
        let (port, nfc_port) = server.ports();
        raw.serverName = text(server.c_name());
        raw.thumbPrint = server.thumbprint().map_or(ptr::null_mut(), text);
        raw.port = port.into();
        raw.nfcHostPort = nfc_port.into();
        fill_credentials(raw, server.credentials());
    }
    match &params.spec {
        SpecText::Nothing => {}
        SpecText::Vmx(spec) => {
            raw.specType = VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX;
            raw.vmxSpec = text(spec);
        }
        SpecText::Fcd {
            id,
            datastore,
            snapshot,
        } => {
            raw.specType = VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT;
            raw.spec.vStorageObjSpec.id = text(id);
            raw.spec.vStorageObjSpec.datastoreMoRef = text(datastore);
            raw.spec.vStorageObjSpec.ssId = optional(snapshot);
        }
        SpecText::Datastore { datastore, folder } => {
            raw.specType = VixDiskLibSpecType::VIXDISKLIB_SPEC_DATASTORE;
            raw.spec.dsSpec.datastoreMoRef = text(datastore);
            raw.spec.dsSpec.diskFolder = text(folder);
        }
    }
}

fn fill_credentials(raw: &mut VixDiskLibConnectParams, credentials: &CredentialText) {
    match credentials {
        CredentialText::Password { user, password } => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_UID;
            raw.creds.uid.userName = text(user);
            raw.creds.uid.password = text(password.expose());
        }
        CredentialText::Session { cookie, user, key } => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID;
            raw.creds.sessionId.cookie = text(cookie.expose());
            raw.creds.sessionId.userName = text(user);
            raw.creds.sessionId.key = text(key.expose());
        }
        CredentialText::Sspi => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_SSPI;
            raw.creds.uid.userName = text(SSPI_USER);
            // Not looked at (Virtual Disk Programming Guide); empty rather than null, in case it is after all.
            raw.creds.uid.password = text(c"");
        }
    }
}

/// The library only reads through these pointers; C has no const here.
fn text(text: &CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

fn optional(value: &Option<CString>) -> *mut c_char {
    value.as_deref().map_or(ptr::null_mut(), text)
}
