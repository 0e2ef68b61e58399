//! The library behind everything: found, initialised once, left when the last user is gone.

mod rename;

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use disk_units::ByteLen;
use parking_lot::Mutex;

use crate::api::Api;
use crate::capability::Capabilities;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::log::callback;
use crate::params;
use crate::process::{self, Birth};
use crate::progress::{self, Progress, Reporter};
use crate::statistics::{Recorder, Statistics, counting};
use crate::transport::TransportModes;
use crate::worker::Worker;

/// The API version that is asked for. Libraries accept older numbers than their own: 6.5 is known to work with 6.5 to
/// 9.0.1 (observed by nbdkit's users). 7.0 says that parameters for new disks have sector sizes, which the embedded
/// engine does not read otherwise.
fn api_version(api: &Api) -> (u32, u32) {
    if api.major.is_some_and(|major| major >= 7) {
        (7, 0)
    } else {
        (6, 5)
    }
}

/// The libraries that are initialised now, by the address of their [`Api`], and where. In a forked child those of its
/// parent stay: their memory says initialised, and their threads are missing.
static LIVE: Mutex<Vec<(usize, Birth)>> = Mutex::new(Vec::new());

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
/// [`ErrorKind::Forked`], and dropping it does nothing. Fork first, and start the library in the process that uses it.
/// Starting another program is no problem.
///
/// Log lines of the library become `tracing` events on whatever thread it logs from, maybe the control thread: a
/// subscriber must not call this crate.
///
/// ```
/// use vixdisklib::Library;
///
/// let library = Library::embedded()?;
/// assert_eq!(library.transport_modes().to_string(), "file");
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

struct Strings {
    lib_dir: Option<CString>,
    config_file: Option<CString>,
}

/// How to initialise a [`Library`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LibraryBuilder {
    backend: Backend,
    config_file: Option<PathBuf>,
    statistics: bool,
}

impl LibraryBuilder {
    /// The configuration file that the library reads; none by default.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// Whether to count and time the calls of every C function, for [`Library::statistics`]; off by default.
    ///
    /// It costs about 0.1 microseconds per call; without it there is nothing to pay. At most 4 libraries of a process can
    /// have it.
    pub fn statistics(mut self, on: bool) -> Self {
        self.statistics = on;
        self
    }

    /// Finds and initialises the library. Blocks, for seconds with VDDK.
    ///
    /// # Errors
    /// [`ErrorKind::Load`] if the library cannot be opened or lacks a required function;
    /// [`ErrorKind::Initialization`] if it is initialised in this process already; any kind that the library reports.
    #[doc(alias = "VixDiskLib_InitEx")]
    pub fn open(self) -> Result<Library> {
        let (api, root) = find(&self.backend)?;
        self.start(api, root)
    }

    /// Initialises the library behind `api`; `root` is the folder that it is told it lies in.
    pub(crate) fn start(self, plain: &'static Api, root: Option<PathBuf>) -> Result<Library> {
        let Self {
            backend,
            config_file,
            statistics,
        } = self;
        let (api, recorder) = if statistics {
            let (api, recorder) = counting(plain)?;
            (api, Some(recorder))
        } else {
            (plain, None)
        };
        let strings = Arc::new(Strings {
            lib_dir: root
                .map(|path| c_path("the library's folder", &path))
                .transpose()?,
            config_file: config_file
                .map(|path| c_path("the configuration file's name", &path))
                .transpose()?,
        });
        process::count_forks()?;
        let control = Worker::start("vixdisklib-control", ()).map_err(|cause| {
            Error::new(
                ErrorKind::OutOfMemory,
                Operation::Initialize,
                "no thread for the library",
            )
            .with_cause(cause)
        })?;
        register(plain)?;
        recorder.into_iter().for_each(Recorder::reset);
        let arguments = Arc::clone(&strings);
        if let Err(error) = control.run(move |()| initialize(api, &arguments)) {
            unregister(plain);
            return Err(error);
        }
        Ok(Library(Arc::new(Inner {
            api,
            plain,
            recorder,
            backend,
            control,
            birth: Birth::here(),
            _strings: strings,
        })))
    }
}

impl Library {
    /// Starts a library on `backend`.
    pub fn builder(backend: Backend) -> LibraryBuilder {
        LibraryBuilder {
            backend,
            config_file: None,
            statistics: false,
        }
    }

    /// The embedded open engine, initialised.
    ///
    /// # Errors
    /// [`ErrorKind::Initialization`] if this process has one already.
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
    /// [`ErrorKind::Load`] with the cause if it cannot be loaded; else as [`LibraryBuilder::open`].
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

/// The library's table, and the folder to name as `libDir`.
fn find(backend: &Backend) -> Result<(&'static Api, Option<PathBuf>)> {
    match *backend {
        #[cfg(feature = "embedded")]
        Backend::Embedded => {
            static EMBEDDED: Api = Api {
                table: vixdisklib_open::TABLE,
                major: Some(8),
            };
            Ok((&EMBEDDED, None))
        }
        #[cfg(feature = "loader")]
        Backend::Library(ref path) => load(path),
    }
}

/// Loads a library once per path; it is kept for the life of the process.
#[cfg(feature = "loader")]
fn load(path: &Path) -> Result<(&'static Api, Option<PathBuf>)> {
    struct Known {
        file: PathBuf,
        api: &'static Api,
    }
    static LOADED: Mutex<Vec<Known>> = Mutex::new(Vec::new());

    let failed = |cause| {
        Error::new(ErrorKind::Load, Operation::Load, "it is not usable")
            .with_path(path)
            .with_cause(cause)
    };
    let mut loaded = LOADED.lock();
    // SAFETY: whoever names a library vouches for it, as whoever starts a program does; `Library::load` says so.
    let library = unsafe { vixdisklib_sys::loader::load(path) }.map_err(failed)?;
    for shadowed in &library.shadowed {
        tracing::warn!(
            ?shadowed,
            "a private library is not used, the process has another of its name"
        );
    }
    for error in &library.refused {
        tracing::debug!(%error, "a library beside VixDiskLib was not loaded");
    }
    let api = match loaded.iter().find(|known| known.file == library.path) {
        Some(known) => known.api,
        None => {
            let major = library.version.as_ref().map(|version| version.major());
            let api: &'static Api = Box::leak(Box::new(Api {
                table: library.table,
                major,
            }));
            loaded.push(Known {
                file: library.path.clone(),
                api,
            });
            api
        }
    };
    Ok((api, Some(library.root)))
}

/// `VixDiskLib_InitEx`; runs on the control thread.
fn initialize(api: &'static Api, strings: &Strings) -> Result<()> {
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let (major, minor) = api_version(api);
    api.call(Operation::Initialize, |table| {
        // SAFETY: the callbacks are functions, which live for ever; the strings are C strings or null, which
        // `Inner` keeps until `Exit`; this is the first call on the designated thread.
        unsafe {
            (table.init_ex)(
                major,
                minor,
                Some(callback::log),
                Some(callback::warn),
                Some(callback::panic),
                pointer(&strings.lib_dir),
                pointer(&strings.config_file),
            )
        }
    })
}

fn register(api: &'static Api) -> Result<()> {
    let mut live = LIVE.lock();
    let address = ptr::from_ref(api).addr();
    if let Some((_, birth)) = live.iter().find(|(live, _)| *live == address) {
        birth.check_surely(Operation::Initialize)?;
        let text = "it is initialised in this process already; clone that Library instead";
        return Err(Error::new(
            ErrorKind::Initialization,
            Operation::Initialize,
            text,
        ));
    }
    live.push((address, Birth::here()));
    Ok(())
}

fn unregister(api: &'static Api) {
    LIVE.lock()
        .retain(|(address, _)| *address != ptr::from_ref(api).addr());
}

/// A path as a C string: its bytes on Unix; elsewhere UTF-8, as the library wants it.
pub(crate) fn c_path(what: &str, path: &Path) -> Result<CString> {
    params::text(what, path.as_os_str().as_encoded_bytes())
}
