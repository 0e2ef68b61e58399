//! The library behind everything: found, initialised once, left when the last user is gone.

mod facts;
mod find;
mod rename;
mod start;

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use disk_units::ByteLen;
pub use start::LibraryBuilder;
use start::{Strings, unregister};

use crate::api::Api;
use crate::capability::Capabilities;
use crate::cleanup::Cleaned;
use crate::error::{Operation, Result};
use crate::params;
use crate::process::Birth;
use crate::progress::{self, Progress, Reporter};
use crate::statistics::{Recorder, Statistics};
use crate::transport::TransportModes;
use crate::worker::Worker;

/// Which library does the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The open engine inside this process.
    #[cfg(feature = "embedded")]
    Embedded,
    /// VDDK, or anything else with its ABI: the path of a distribution folder, its `lib64`, or the library itself.
    #[cfg(feature = "loader")]
    Library(PathBuf),
}

/// An initialised library (`VixDiskLib_InitEx`).
///
/// It is a cheap handle: clones share the library, and so do the connections and disks made from it. When the last
/// of them is gone, `VixDiskLib_Exit` runs. One control thread per library runs every call that VDDK wants on one
/// thread, so a `Library` may be used from any.
///
/// A process has at most one live `Library` per back end, as VDDK documents one initialisation per process. After the
/// last clone of one is gone another can be made; of VDDK that is not documented, so keep a clone for the life of the
/// process there. On Windows, VDDK 7.0 and later want threads that use disks to be started after the library is
/// initialised (Virtual Disk Programming Guide).
///
/// A forked child lacks the threads of the library: there, calls on what it inherited are refused with
/// [`ErrorKind::Forked`](crate::ErrorKind::Forked), and dropping it does nothing. Fork first, and start the library in the process that uses it.
/// Starting another program is no problem.
///
/// Log lines of the library become `tracing` events on whatever thread it logs from, maybe the control thread: a
/// subscriber must not call this crate.
///
/// ```
/// use vixdisklib::Library;
///
/// let library = Library::embedded()?;
/// assert_eq!(library.transport_modes().to_string(), "file:nbdssl:nbd");
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[doc(alias = "VixDiskLib_Exit")]
#[derive(Clone, Debug)]
pub struct Library(Arc<Inner>);

struct Inner {
    /// Where calls go: the library, or what counts them before it.
    api: &'static Api,
    /// The library itself, which is registered.
    plain: &'static Api,
    recorder: Option<Recorder>,
    backend: Backend,
    /// Runs every call that VDDK wants on one designated thread: initialisation and exit, connecting, opening and
    /// closing, and, since 7.0.1, allocated-block queries (Virtual Disk Programming Guide).
    control: Worker<()>,
    birth: Birth,
    /// The file that was loaded, if one was.
    file: Option<PathBuf>,
    /// The numbers of its release; none if they are not known.
    release: Vec<u32>,
    /// What was cleaned up on start.
    cleaned: OnceLock<Vec<Result<Cleaned>>>,
    /// The library may keep the pointers it was initialised with.
    _strings: Arc<Strings>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Library")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl Library {
    /// Starts a library on `backend`.
    pub fn builder(backend: Backend) -> LibraryBuilder {
        LibraryBuilder::new(backend)
    }

    /// The embedded open engine, initialised.
    ///
    /// # Errors
    /// [`ErrorKind::Initialization`](crate::ErrorKind::Initialization) if this process has one already.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self> {
        Self::builder(Backend::Embedded).open()
    }

    /// VDDK, or another library with its ABI, loaded from a distribution folder and initialised.
    ///
    /// The folder is the root of the distribution or its `lib64`; `LD_LIBRARY_PATH` is neither needed nor changed.
    /// Loading a library runs its code, as starting a program does: name only folders that you trust. The library is
    /// never unloaded.
    ///
    /// # Errors
    /// [`ErrorKind::Load`](crate::ErrorKind::Load) with the cause if it cannot be loaded; else as [`LibraryBuilder::open`].
    #[cfg(feature = "loader")]
    pub fn load(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(Backend::Library(path.into())).open()
    }

    /// The back end that was chosen.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.0.backend
    }

    /// What the library offers; [`Disk::capabilities`](crate::Disk::capabilities) knows more.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.0.api.table)
    }

    /// The transports that the library knows, in its default order (`VixDiskLib_ListTransportModes`, VDDK 1.1). Runs
    /// on the control thread. Empty if a library does not say, and in a forked child.
    #[doc(alias = "VixDiskLib_ListTransportModes")]
    #[must_use]
    pub fn transport_modes(&self) -> TransportModes {
        let api = self.0.api;
        let modes = self.control(move || {
            let Some(list) = api.table.list_transport_modes else {
                return Ok(TransportModes::default());
            };
            // SAFETY: the library is initialised while `self` lives; the call takes nothing.
            let modes = unsafe { list() };
            // SAFETY: null, or a static string of the library, which is never unloaded.
            Ok(unsafe { TransportModes::from_library(modes) })
        });
        modes.unwrap_or_default()
    }

    /// What the calls of each C function have added up to since the library was started; `None` unless
    /// [`LibraryBuilder::statistics`] asked for it. Does not block.
    ///
    /// ```
    /// use vixdisklib::{Backend, Library};
    ///
    /// let library = Library::builder(Backend::Embedded).statistics(true).open()?;
    /// library.connect_local()?;
    /// let statistics = library.statistics().expect("asked for above");
    /// assert_eq!(statistics.call("VixDiskLib_ConnectEx").map(|call| call.calls), Some(1));
    /// println!("{statistics}");
    /// # Ok::<(), vixdisklib::Error>(())
    /// ```
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        self.0.recorder.map(Recorder::read)
    }

    pub(crate) fn api(&self) -> &'static Api {
        self.0.api
    }

    /// The process that the library lives in.
    pub(crate) fn birth(&self) -> Birth {
        self.0.birth
    }

    /// Whether the library is of this release or a later one, as far as that is known; if nothing is, it may be.
    pub(crate) fn is_since(&self, release: [u32; 3]) -> bool {
        match (self.0.release.as_slice(), self.0.api.major) {
            ([], None) => true,
            ([], Some(major)) => major >= release[0],
            (known, _) => *known >= release[..],
        }
    }

    /// The same; if too little is known, it is not.
    pub(crate) fn is_surely_since(&self, release: [u32; 3]) -> bool {
        match (self.0.release.as_slice(), self.0.api.major) {
            ([], None) => false,
            ([], Some(major)) => major > release[0],
            (known, _) => *known >= release[..],
        }
    }

    /// Runs `job` on the control thread and waits for it; refuses in a forked child, which has no such thread.
    pub(crate) fn control<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.0.birth.check_surely(Operation::Control)?;
        self.0.control.run(|()| job())
    }

    /// The same for a job that reports how far it is; `progress` hears of it on this thread.
    pub(crate) fn control_watched<R: Send + 'static>(
        &self,
        total: Option<ByteLen>,
        progress: &mut dyn FnMut(Progress),
        job: impl FnOnce(&Reporter) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.0.birth.check_surely(Operation::Control)?;
        progress::watch(&self.0.control, total, progress, job)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.birth.is_surely_here() {
            return;
        }
        let api = self.api;
        self.control.run(move |()| {
            // SAFETY: initialised by `initialize`; connections and disks hold a `Library`, so none is left.
            unsafe { (api.table.exit)() };
        });
        unregister(self.plain);
    }
}

/// A path as a C string: its bytes on Unix; elsewhere UTF-8, as the library wants it.
pub(crate) fn c_path(what: &str, path: &Path) -> Result<CString> {
    params::text(what, path.as_os_str().as_encoded_bytes())
}
