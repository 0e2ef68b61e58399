//! A connection: to the files of this machine, or to a server.

mod check;
mod clone;
mod create;
mod grow;
mod unlink;

pub use check::{CheckReport, Health};
pub use clone::CloneOptions;
pub use create::CreateOptions;
pub use grow::GrowGeometry;

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use bitflags::bitflags;
use vixdisklib_sys::{
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ, VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ,
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB, VIXDISKLIB_FLAG_OPEN_READ_ONLY,
    VIXDISKLIB_FLAG_OPEN_SINGLE_LINK, VIXDISKLIB_FLAG_OPEN_UNBUFFERED, VixDiskLibConnectParams,
    VixDiskLibConnection, VixDiskLibCredType, VixDiskLibSpecType,
};

use crate::api::Api;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Location, Operation, Result};
use crate::library::{Library, c_path};
use crate::params::{self, ConnectParams, CredentialText, SpecText};

/// The user name that stands for the account of the process (Virtual Disk Programming Guide).
const SSPI_USER: &CStr = c"__sspi__";

bitflags! {
    /// How to open a disk (`VixDiskLib_Open`). Unknown bits pass through.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// Bypass the cache of the host.
        const UNBUFFERED = VIXDISKLIB_FLAG_OPEN_UNBUFFERED;
        /// Open this link alone, without its parents; hosted disks only.
        const SINGLE_LINK = VIXDISKLIB_FLAG_OPEN_SINGLE_LINK;
        /// Open for reading.
        const READ_ONLY = VIXDISKLIB_FLAG_OPEN_READ_ONLY;
        /// Compress the data of the NBDSSL transport with zlib. vSphere 6.5 and later.
        const COMPRESSION_ZLIB = VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB;
        /// Compress the data of the NBDSSL transport with FastLZ. vSphere 6.5 and later.
        const COMPRESSION_FASTLZ = VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ;
        /// Skip blocks of zeroes on the NBDSSL transport. vSphere 6.5 and later.
        const COMPRESSION_SKIPZ = VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ;
        const _ = !0;
    }
}

/// What a connection is for, besides its [`ConnectParams`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Every disk of the connection is opened for reading, whatever its flags say.
    pub read_only: bool,
    /// The managed object reference of the VM's snapshot, such as `snapshot-27`.
    pub snapshot: Option<String>,
    /// Transport modes in order of preference, joined by colons, such as `nbdssl:nbd`; the library's own order if
    /// not set.
    pub transport_modes: Option<String>,
}

/// A connection (`VixDiskLib_ConnectEx`), a cheap handle: clones and open disks share it, and the last one
/// disconnects.
///
/// ```
/// use vixdisklib::{ConnectOptions, ConnectParams, Library};
///
/// let library = Library::embedded()?;
/// let connection = library.connect(ConnectParams::local(), &ConnectOptions::default())?;
/// let error = connection.open_disk("/no/such/disk.vmdk", Default::default()).unwrap_err();
/// assert_eq!(error.kind(), vixdisklib::ErrorKind::NotFound);
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[doc(alias = "VixDiskLib_Disconnect")]
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

struct Inner {
    library: Library,
    handle: Handle,
    read_only: bool,
    /// The library may keep pointers into the strings until `Disconnect`.
    session: Arc<Session>,
}

/// The connection value and the parameters that it was made from.
#[derive(Clone, Copy)]
struct Handle {
    connection: VixDiskLibConnection,
    params: *mut VixDiskLibConnectParams,
}

// SAFETY: the pointers are opaque here; they are used on the control thread alone, and a connection value is not
// bound to a thread otherwise (Virtual Disk Programming Guide, multithreading).
unsafe impl Send for Handle {}
// SAFETY: as above; `&Handle` only copies the pointers.
unsafe impl Sync for Handle {}

/// The strings of a connection.
struct Session {
    params: ConnectParams,
    snapshot: Option<CString>,
    transport_modes: Option<CString>,
}

impl Session {
    /// What errors say of the connection.
    fn location(&self) -> Location {
        let owned = |text: &CStr| text.to_string_lossy().into_owned();
        Location {
            server: self.params.server().map(owned),
            snapshot: self.snapshot.as_deref().map(owned),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("library", &self.library)
            .field("server", &self.session.params.server())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Library {
    /// Connects. Blocks; a wrong server or thumbprint may only show when a disk is opened.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a NUL character in an option, or what the library reports.
    #[doc(alias = "VixDiskLib_ConnectEx")]
    pub fn connect(&self, params: ConnectParams, options: &ConnectOptions) -> Result<Connection> {
        let optional = |what, value: &Option<String>| {
            value
                .clone()
                .map(|value| params::text(what, value))
                .transpose()
        };
        let session = Arc::new(Session {
            snapshot: optional("the snapshot's moref", &options.snapshot)?,
            transport_modes: optional("the list of transport modes", &options.transport_modes)?,
            params,
        });
        let (api, read_only) = (self.api(), options.read_only);
        let strings = Arc::clone(&session);
        let handle = self
            .control(move || connect(api, &strings, read_only))
            .map_err(|error| session.location().locate(error))?;
        Ok(Connection(Arc::new(Inner {
            library: self.clone(),
            handle,
            read_only,
            session,
        })))
    }

    /// Connects to the files of this machine.
    ///
    /// # Errors
    /// What the library reports.
    pub fn connect_local(&self) -> Result<Connection> {
        self.connect(ConnectParams::local(), &ConnectOptions::default())
    }
}

impl Connection {
    /// Opens a disk (`VixDiskLib_Open`): a local path of a VMDK, or `[datastore] folder/name.vmdk` on a server.
    ///
    /// A relative local path is made absolute, as VDDK wants it. Blocks; with VDDK's HotAdd for tens of seconds.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::InvalidDisk`], [`ErrorKind::Locked`] and whatever else the library
    /// reports; the log lines of the error say which file is meant where the disk has several.
    #[doc(alias = "VixDiskLib_Open")]
    pub fn open_disk(&self, path: impl AsRef<OsStr>, flags: OpenFlags) -> Result<Disk> {
        let (name, c_name) = self.name(Operation::Open, path.as_ref())?;
        let flags = if self.0.read_only {
            flags | OpenFlags::READ_ONLY
        } else {
            flags
        };
        Disk::open(self.clone(), name, c_name, flags)
    }

    /// The library of the connection.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// Whether the disks are files of this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.session.params.is_local()
    }

    /// What errors say of the connection.
    pub(crate) fn location(&self) -> Location {
        self.0.session.location()
    }

    /// The name of a disk as the library wants it, a local one absolute, and the same for C.
    fn name(&self, operation: Operation, given: &OsStr) -> Result<(PathBuf, CString)> {
        let given = Path::new(given);
        let refused = |error: Error| self.locate(error, given);
        let name = if self.is_local() {
            absolute(operation, given).map_err(refused)?
        } else {
            given.to_owned()
        };
        let c_name = c_path("the disk's name", &name).map_err(refused)?;
        Ok((name, c_name))
    }

    /// The same for a disk that `operation` makes, changes or removes.
    fn writable_name(&self, operation: Operation, given: &OsStr) -> Result<(PathBuf, CString)> {
        if self.0.read_only {
            let text = "the connection is for reading only";
            let error = Error::new(ErrorKind::ReadOnly, operation, text);
            return Err(self.locate(error, given));
        }
        self.name(operation, given)
    }

    /// Names a disk of the connection in an error, with its server and snapshot.
    fn locate(&self, error: Error, path: impl Into<PathBuf>) -> Error {
        self.location().locate(error.with_path(path))
    }

    /// The connection value; for use on the control thread.
    pub(crate) fn handle(&self) -> VixDiskLibConnection {
        self.0.handle.connection
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.library.birth().is_surely_here() {
            return;
        }
        let (api, handle) = (self.library.api(), self.handle);
        let done = self.library.control(move || {
            // SAFETY: disks hold their connection, so none is open on it; the value is not used again.
            let done = api.call(Operation::Disconnect, |table| unsafe {
                (table.disconnect)(handle.connection)
            });
            free_params(api, handle);
            done
        });
        if let Err(error) = done {
            let error = self.session.location().locate(error);
            tracing::warn!(%error, "disconnecting failed on drop");
        }
    }
}

pub(crate) fn absolute(operation: Operation, path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|cause| {
        let text = "no such name can exist";
        Error::new(ErrorKind::InvalidArgument, operation, text).with_cause(cause)
    })
}

/// `VixDiskLib_ConnectEx`; runs on the control thread.
fn connect(api: &'static Api, session: &Session, read_only: bool) -> Result<Handle> {
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    require_spec(api, &session.params.spec)?;
    let mut handle = Handle {
        connection: ptr::null_mut(),
        params: allocate_params(api)?,
    };
    // SAFETY: `allocate_params` gave a whole structure that nobody else refers to.
    fill(unsafe { &mut *handle.params }, &session.params);
    let done = api.call(Operation::Connect, |table| {
        // SAFETY: the parameters are complete; all strings are C strings or null and live until `Disconnect`; the
        // output is writable; the library is initialised.
        unsafe {
            (table.connect_ex)(
                handle.params,
                read_only.into(),
                pointer(&session.snapshot),
                pointer(&session.transport_modes),
                &raw mut handle.connection,
            )
        }
    });
    if let Err(error) = done {
        free_params(api, handle);
        return Err(error);
    }
    Ok(handle)
}

/// Parameters from the library where it has a call for it (6.7), since only those carry private state.
fn allocate_params(api: &Api) -> Result<*mut VixDiskLibConnectParams> {
    let Some(allocate) = api.table.allocate_connect_params else {
        // SAFETY: a structure of integers, pointers and unions of pointers, for all of which zero is valid.
        let zeroed: VixDiskLibConnectParams = unsafe { mem::zeroed() };
        return Ok(Box::into_raw(Box::new(zeroed)));
    };
    // SAFETY: the call takes nothing and may even come before initialisation.
    let params = unsafe { allocate() };
    if params.is_null() {
        return Err(Error::new(
            ErrorKind::OutOfMemory,
            Operation::Connect,
            "no memory for the parameters",
        ));
    }
    Ok(params)
}

fn free_params(api: &Api, handle: Handle) {
    if api.table.allocate_connect_params.is_some() {
        // SAFETY: the library allocated it; it frees the structure, not the strings, which `Session` owns.
        unsafe { (api.table.free_connect_params)(handle.params) };
    } else {
        // SAFETY: made by `Box::into_raw` in `allocate_params`.
        drop(unsafe { Box::from_raw(handle.params) });
    }
}

/// A spec lies where libraries before VDDK 6.7 have nothing, and they read nothing there.
fn require_spec(api: &Api, spec: &SpecText) -> Result<()> {
    let in_tail = matches!(spec, SpecText::Fcd { .. } | SpecText::Datastore { .. });
    if in_tail && api.table.allocate_connect_params.is_none() {
        let text = "the library knows no first class disks and datastores, VDDK 6.7 does";
        return Err(Error::new(ErrorKind::Unsupported, Operation::Connect, text));
    }
    Ok(())
}

/// Points the structure's fields at the strings of `params`.
fn fill(raw: &mut VixDiskLibConnectParams, params: &ConnectParams) {
    // The library only reads through these pointers; C has no const here.
    let text = |text: &CStr| text.as_ptr().cast_mut();
    let optional = |value: &Option<CString>| value.as_deref().map_or(ptr::null_mut(), text);
    raw.serverName = optional(&params.server);
    raw.thumbPrint = optional(&params.thumbprint);
    raw.port = params.port;
    raw.nfcHostPort = params.nfc_port;
    match &params.spec {
        SpecText::Local => {}
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
    match &params.credentials {
        None => {}
        Some(CredentialText::Password { user, password }) => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_UID;
            raw.creds.uid.userName = text(user);
            raw.creds.uid.password = text(password.expose());
        }
        Some(CredentialText::Session { cookie, user, key }) => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID;
            raw.creds.sessionId.cookie = text(cookie.expose());
            raw.creds.sessionId.userName = text(user);
            raw.creds.sessionId.key = text(key.expose());
        }
        Some(CredentialText::Sspi) => {
            raw.credType = VixDiskLibCredType::VIXDISKLIB_CRED_SSPI;
            raw.creds.uid.userName = text(SSPI_USER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Credentials, Spec};
    use crate::secret::Secret;

    fn raw(spec: Spec, credentials: Credentials) -> (ConnectParams, VixDiskLibConnectParams) {
        let params = ConnectParams::builder(spec)
            .server("vc.example.com")
            .credentials(credentials)
            .port(8443)
            .nfc_port(8902)
            .build()
            .expect("complete");
        let mut raw = VixDiskLibConnectParams::default();
        fill(&mut raw, &params);
        (params, raw)
    }

    fn vm() -> Spec {
        Spec::Vm {
            moref: "vm-16".to_owned(),
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).expect("no NUL")
    }

    #[track_caller]
    fn assert_text(pointer: *const std::ffi::c_char, expected: &CStr) {
        assert!(!pointer.is_null());
        // SAFETY: not null, so a string of the parameters, which the test keeps.
        assert_eq!(unsafe { CStr::from_ptr(pointer) }, expected);
    }

    #[test]
    fn a_vm_by_password() {
        let password = Credentials::Password {
            user: "backup".to_owned(),
            password: secret("swordfish-1"),
        };
        let (_params, raw) = raw(vm(), password);
        assert_eq!(raw.specType, VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX);
        assert_eq!(raw.credType, VixDiskLibCredType::VIXDISKLIB_CRED_UID);
        assert_eq!((raw.port, raw.nfcHostPort), (8443, 8902));
        assert!(raw.thumbPrint.is_null());
        assert_text(raw.vmxSpec, c"moref=vm-16");
        assert_text(raw.serverName, c"vc.example.com");
        // SAFETY: the member that `credType` names.
        let uid = unsafe { raw.creds.uid };
        assert_text(uid.userName, c"backup");
        assert_text(uid.password, c"swordfish-1");
    }

    #[test]
    fn a_first_class_disk_by_session() {
        let spec = Spec::Fcd {
            id: "fcd-1".to_owned(),
            datastore: "datastore-11".to_owned(),
            snapshot: None,
        };
        let session = Credentials::Session {
            cookie: secret("cookie-1"),
            user: "backup".to_owned(),
            key: secret("key-1"),
        };
        let (_params, raw) = raw(spec, session);
        assert_eq!(
            raw.specType,
            VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT
        );
        assert_eq!(raw.credType, VixDiskLibCredType::VIXDISKLIB_CRED_SESSIONID);
        assert!(raw.vmxSpec.is_null());
        // SAFETY: the member that `specType` names.
        let object = unsafe { raw.spec.vStorageObjSpec };
        assert_text(object.id, c"fcd-1");
        assert_text(object.datastoreMoRef, c"datastore-11");
        assert!(object.ssId.is_null());
        // SAFETY: the member that `credType` names.
        let session = unsafe { raw.creds.sessionId };
        assert_text(session.cookie, c"cookie-1");
        assert_text(session.userName, c"backup");
        assert_text(session.key, c"key-1");
    }

    #[test]
    fn the_windows_account_has_a_name_of_its_own() {
        let (_params, raw) = raw(vm(), Credentials::Sspi);
        assert_eq!(raw.credType, VixDiskLibCredType::VIXDISKLIB_CRED_SSPI);
        // SAFETY: pointers, whatever their values.
        let uid = unsafe { raw.creds.uid };
        assert_text(uid.userName, c"__sspi__");
        assert!(uid.password.is_null());
    }
}
