//! A connection: to the files of this machine, or to a server.

mod check;
mod clone;
mod create;
mod grow;
mod options;
mod unlink;

pub use check::{CheckReport, Health};
pub use clone::CloneOptions;
pub use create::CreateOptions;
pub use grow::GrowGeometry;
pub use options::ConnectOptions;

use std::ffi::{CString, OsStr};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use bitflags::bitflags;
use vixdisklib_sys::{
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ, VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ,
    VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB, VIXDISKLIB_FLAG_OPEN_READ_ONLY,
    VIXDISKLIB_FLAG_OPEN_SINGLE_LINK, VIXDISKLIB_FLAG_OPEN_UNBUFFERED, VixDiskLibConnection,
};

use crate::access::AccessGuard;
use crate::api::{Api, no_handle};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Location, Operation, Result};
use crate::library::{Library, c_path};
use crate::params::{ConnectParams, RawParams, ReportedParams, SpecText, read_back};

bitflags! {
    /// How to open a disk (`VixDiskLib_Open`). Unknown bits pass through.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// Bypass the cache of the host. Blocking requests from and to memory that is not aligned are then copied, see
        /// [`Disk::read_at`].
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
    /// The library may keep pointers into the strings until `Disconnect`, which is in `drop`.
    session: Arc<Session>,
}

/// The connection value.
#[derive(Clone, Copy)]
struct Handle(VixDiskLibConnection);

// SAFETY: the pointer is opaque here; it is used on the control thread alone, and a connection value is not bound to a
// thread otherwise (Virtual Disk Programming Guide, multithreading).
unsafe impl Send for Handle {}
// SAFETY: as above; `&Handle` only copies the pointer.
unsafe impl Sync for Handle {}

/// What a connection was made from, and holds on to.
struct Session {
    params: Arc<RawParams>,
    snapshot: Option<CString>,
    transport_modes: Option<CString>,
    /// Ends after the connection.
    _access: Option<Arc<AccessGuard>>,
}

impl Session {
    /// What errors say of the connection.
    fn location(&self) -> Location {
        Location {
            snapshot: self
                .snapshot
                .as_deref()
                .map(|text| text.to_string_lossy().into_owned()),
            ..self.params.location()
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("library", &self.library)
            .field("params", self.session.params.params())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Library {
    /// Connects. Runs on the control thread, and blocks; a wrong server or thumbprint may only show when a disk is
    /// opened.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a snapshot that is empty, holds a NUL character or does not go with the
    /// spec, [`ErrorKind::Unsupported`] for a spec that the library does not know, or what the library reports.
    #[doc(alias = "VixDiskLib_ConnectEx")]
    pub fn connect(&self, params: ConnectParams, options: &ConnectOptions) -> Result<Connection> {
        let params = Arc::new(RawParams::new(self, params)?);
        Connection::open(params, options, None)
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
    /// Connects; `access` ends after the connection.
    pub(crate) fn open(
        params: Arc<RawParams>,
        options: &ConnectOptions,
        access: Option<Arc<AccessGuard>>,
    ) -> Result<Self> {
        let library = params.library().clone();
        let (snapshot, transport_modes) = options.strings(params.params())?;
        let session = Arc::new(Session {
            params,
            snapshot,
            transport_modes,
            _access: access,
        });
        let (api, read_only) = (library.api(), options.read_only);
        let strings = Arc::clone(&session);
        let handle = library
            .control(move || connect(api, &strings, read_only))
            .map_err(|error| session.location().locate(error))?;
        Ok(Self(Arc::new(Inner {
            library,
            handle,
            read_only,
            session,
        })))
    }

    /// Opens a disk (`VixDiskLib_Open`): a local path of a VMDK, or `[datastore] folder/name.vmdk` on a server.
    ///
    /// A relative local path is made absolute, as VDDK wants it. Blocks; with VDDK's HotAdd for tens of seconds. On a
    /// connection to a first class disk VDDK opens that disk whatever the path says; see [`open_fcd`](Self::open_fcd).
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

    /// Opens the first class disk that the connection is for (`VixDiskLib_Open`, VDDK 6.7). Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the connection is for something else; else as
    /// [`open_disk`](Self::open_disk).
    #[doc(alias = "VixDiskLib_Open")]
    pub fn open_fcd(&self, flags: OpenFlags) -> Result<Disk> {
        let SpecText::Fcd { id, .. } = &self.0.session.params.params().spec else {
            let text = "the connection is for no first class disk";
            let error = Error::new(ErrorKind::InvalidArgument, Operation::Open, text);
            return Err(self.location().locate(error));
        };
        // Not looked at by VDDK, but it must not be null; programs in use pass the id.
        self.open_disk(id.to_string_lossy().as_ref(), flags)
    }

    /// What the library says this connection uses (`VixDiskLib_GetConnectParams`, VDDK 6.5). Runs on the control
    /// thread.
    ///
    /// The library gives out a copy with all secrets in plain text; they are moved into [`Secret`](crate::Secret)s, and
    /// overwritten there before the library frees it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the library has no such call, or what the library reports.
    ///
    /// ```
    /// use vixdisklib::{Library, Spec};
    ///
    /// let params = Library::embedded()?.connect_local()?.connect_params()?;
    /// assert_eq!(params.spec, Some(Spec::Local));
    /// assert_eq!(params.server, None);
    /// # Ok::<(), vixdisklib::Error>(())
    /// ```
    #[doc(alias = "VixDiskLib_GetConnectParams")]
    pub fn connect_params(&self) -> Result<ReportedParams> {
        let (api, handle) = (self.0.library.api(), self.0.handle);
        let reported = self.0.library.control(move || {
            // `Handle` as a whole, which is `Send`, moves here.
            let handle: Handle = handle;
            read_back(api, handle.0)
        });
        reported.map_err(|error| self.location().locate(error))
    }

    /// The library of the connection.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// Whether the disks are files of this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.session.params.params().is_local()
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
        self.0.handle.0
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.library.birth().is_surely_here() {
            return;
        }
        let (api, handle) = (self.library.api(), self.handle);
        let done = self.library.control(move || {
            let handle: Handle = handle;
            // SAFETY: disks hold their connection, so none is open on it; the value is not used again.
            api.call(Operation::Disconnect, |table| unsafe {
                (table.disconnect)(handle.0)
            })
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
    let params = session.params.pointer();
    let mut connection = ptr::null_mut();
    api.call(Operation::Connect, |table| {
        // SAFETY: the parameters are complete; all strings are C strings or null and live until `Disconnect`; the
        // output is writable; the library is initialised.
        unsafe {
            (table.connect_ex)(
                params.get(),
                read_only.into(),
                pointer(&session.snapshot),
                pointer(&session.transport_modes),
                &raw mut connection,
            )
        }
    })?;
    if connection.is_null() {
        return Err(no_handle(Operation::Connect));
    }
    Ok(Handle(connection))
}
