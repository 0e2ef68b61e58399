//! Starting a library, once.

use std::ffi::CString;
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::find::{Found, find};
use super::{Backend, Inner, Library, c_path};
use crate::api::Api;
use crate::cleanup::Cleaned;
use crate::configuration::{Configuration, PrivateFile};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::log::callback;
use crate::params::Server;
use crate::process::{self, Birth};
use crate::statistics::{Recorder, counting};
use crate::worker::Worker;

/// The API version that is asked for. Libraries accept older numbers than their own: nbdkit's VDDK plugin asks every
/// one from 6.5 to 9.0.1 for 6.5. 7.0 says that parameters for new disks have sector sizes, which the embedded
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

/// How to initialise a [`Library`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LibraryBuilder {
    backend: Backend,
    config_file: Option<PathBuf>,
    configuration: Option<Configuration>,
    clean_up: Vec<Server>,
    statistics: bool,
}

/// What the library may point to until it is left.
pub(super) struct Strings {
    lib_dir: Option<CString>,
    config_file: Option<CString>,
    /// Removed when it is dropped.
    _written: Option<PrivateFile>,
}

impl LibraryBuilder {
    pub(super) fn new(backend: Backend) -> Self {
        Self {
            backend,
            config_file: None,
            configuration: None,
            clean_up: Vec::new(),
            statistics: false,
        }
    }

    /// The configuration file that the library reads, written by somebody else; none by default. See
    /// [`configuration`](Self::configuration) for one that this crate writes.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// The configuration of the library; none by default.
    pub fn configuration(mut self, configuration: Configuration) -> Self {
        self.configuration = Some(configuration);
        self
    }

    /// Cleans up on this server when the library has started, what processes left behind that died:
    /// [`Library::cleanup`], once for each call of this. It needs a
    /// [`Configuration::temporary_directory`] that those processes had too.
    ///
    /// A failure is logged as a warning and does not keep the library from starting; see
    /// [`Library::cleaned_on_start`].
    pub fn clean_up_on_start(mut self, server: &Server) -> Self {
        self.clean_up.push(server.clone());
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
    /// [`ErrorKind::InvalidArgument`] for a configuration that cannot be written, for one beside a configuration file,
    /// and for a clean-up without a temporary directory; [`ErrorKind::Load`] if the library cannot be opened or lacks a
    /// required function; [`ErrorKind::Initialization`] if it is initialised in this process already;
    /// [`ErrorKind::Forked`] if it was, in the process that this one was forked from; any kind that the library reports.
    #[doc(alias = "VixDiskLib_InitEx")]
    pub fn open(self) -> Result<Library> {
        self.check()?;
        let found = find(&self.backend)?;
        self.start_found(found)
    }

    /// Initialises the library behind `api`; `root` is the folder that it is told it lies in.
    #[cfg(all(test, feature = "embedded"))]
    pub(crate) fn start(self, api: &'static Api, root: Option<PathBuf>) -> Result<Library> {
        self.start_release(api, root, Vec::new())
    }

    /// The same for a library whose file tells its release.
    #[cfg(all(test, feature = "embedded"))]
    pub(crate) fn start_release(
        self,
        api: &'static Api,
        root: Option<PathBuf>,
        release: Vec<u32>,
    ) -> Result<Library> {
        self.check()?;
        self.start_found(Found {
            api,
            root,
            file: None,
            release,
        })
    }

    /// What is wrong with the options whichever library it is.
    fn check(&self) -> Result<()> {
        let wrong = match &self.configuration {
            Some(_) if self.config_file.is_some() => {
                "a configuration and a configuration file exclude each other"
            }
            Some(configuration) if configuration.has_temporary_directory() => return Ok(()),
            _ if self.clean_up.is_empty() => return Ok(()),
            _ => "cleaning up on start needs Configuration::temporary_directory",
        };
        Err(Error::new(
            ErrorKind::InvalidArgument,
            Operation::Initialize,
            wrong,
        ))
    }

    fn start_found(self, found: Found) -> Result<Library> {
        let Self {
            backend,
            config_file,
            configuration,
            clean_up,
            statistics,
        } = self;
        let Found {
            api: plain,
            root,
            file,
            release,
        } = found;
        let (api, recorder) = if statistics {
            let (api, recorder) = counting(plain)?;
            (api, Some(recorder))
        } else {
            (plain, None)
        };
        process::count_forks()?;
        let written = configuration
            .map(|configuration| write(&configuration, plain.major))
            .transpose()?;
        let config_file = match &written {
            Some(written) => Some(written.path().to_owned()),
            None => config_file,
        };
        let strings = Arc::new(Strings {
            lib_dir: root
                .map(|path| c_path("the library's folder", &path))
                .transpose()?,
            config_file: config_file
                .map(|path| c_path("the configuration file's name", &path))
                .transpose()?,
            _written: written,
        });
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
        let library = Library(Arc::new(Inner {
            api,
            plain,
            recorder,
            file,
            release,
            backend,
            control,
            birth: Birth::here(),
            cleaned: OnceLock::new(),
            _strings: strings,
        }));
        let cleaned = clean_up.iter().map(|server| library.clean_up_now(server));
        let cleaned: Vec<_> = cleaned.collect();
        library.0.cleaned.get_or_init(|| cleaned);
        Ok(library)
    }
}

impl Library {
    /// What [`LibraryBuilder::clean_up_on_start`] came to, one result for each server in the order given.
    pub fn cleaned_on_start(&self) -> &[Result<Cleaned>] {
        self.0.cleaned.get().map_or(&[], Vec::as_slice)
    }

    fn clean_up_now(&self, server: &Server) -> Result<Cleaned> {
        let cleaned = self.cleanup(server);
        match &cleaned {
            Ok(cleaned) => tracing::info!(server = server.name(), ?cleaned, "cleaned up on start"),
            Err(error) => tracing::warn!(%error, "cleaning up on start failed"),
        }
        cleaned
    }
}

/// Writes the configuration for a library of this major version.
fn write(configuration: &Configuration, major: Option<u32>) -> Result<PrivateFile> {
    let text = configuration.prepare(major)?;
    PrivateFile::write("vixdisklib.conf", &text).map_err(|cause| {
        let text = "the configuration file cannot be written";
        Error::new(ErrorKind::Io, Operation::Initialize, text)
            .with_path(std::env::temp_dir())
            .with_cause(cause)
    })
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

pub(super) fn unregister(api: &'static Api) {
    LIVE.lock()
        .retain(|(address, _)| *address != ptr::from_ref(api).addr());
}
