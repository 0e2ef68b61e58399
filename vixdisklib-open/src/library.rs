//! The library between `InitEx` and `Exit`: its connections, disks and threads.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use vixdisklib_sys::VixError;

use crate::config::Config;
use crate::disk::{Mode, OpenDisk};
use crate::error::Failure;
use crate::handles::{Handle, Handles};
use crate::log::Log;
use crate::params::ConnectParams;
use crate::progress;
use crate::workers::{self, Refusal, Workers};

/// The API versions that `InitEx` accepts, first and last: what callers of VDDK 6.0 to 9.1 ask for.
///
/// From a library of VDDK 6 nobody gets more than 6: whoever asks for 7.0 counts on structures that are longer there.
const fn versions(major: u32) -> (ApiVersion, ApiVersion) {
    let last = if major < LONG_STRUCTURES.0 {
        ApiVersion(major, u32::MAX)
    } else {
        ApiVersion(9, 1)
    };
    (ApiVersion(6, 0), last)
}

/// The version in which `VixDiskLibInfo` and `VixDiskLibCreateParams` grew by the sector sizes, for the last time.
const LONG_STRUCTURES: ApiVersion = ApiVersion(7, 0);

/// A version of the API as callers state it: major, minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32, pub(crate) u32);

impl ApiVersion {
    fn take_older(&mut self, other: Self) {
        *self = (*self).min(other);
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.", self.0)?;
        match self.1 {
            u32::MAX => formatter.write_str("x"),
            minor => minor.fmt(formatter),
        }
    }
}

/// The one library of the process, and how many calls of `InitEx` it still owes an `Exit`.
static CURRENT: RwLock<Option<(Arc<Library>, u32)>> = RwLock::new(None);

/// Starts the library, or counts one more user of the one that runs and keeps its settings.
///
/// `major` is the number of the library itself.
pub(crate) fn init(
    major: u32,
    version: ApiVersion,
    mut log: Log,
    config_file: Option<&Path>,
) -> Result<(), Failure> {
    let config = config_file.map(Config::read).unwrap_or_default();
    log.level = config.level;
    let (first, last) = versions(major);
    if version < first || last < version {
        log.error(&format!(
            "VixDiskLib_InitEx: API version {version} was asked for; as VDDK {major}, the library understands {first} to {last}"
        ));
        return Err(Failure::silent(VixError::NOT_SUPPORTED));
    }
    let mut current = CURRENT.write();
    let (log, line, complaints) = match &mut *current {
        Some((library, users)) => {
            *users = users.checked_add(1).ok_or_else(|| {
                Failure::new(VixError::FAIL, "too many calls without VixDiskLib_Exit")
            })?;
            library.version.lock().take_older(version);
            (
                library.log.clone(),
                "VixDiskLib_InitEx: initialised already, the first settings stay".to_owned(),
                Vec::new(),
            )
        }
        None => {
            *current = Some((Arc::new(Library::new(major, version, log.clone())), 1));
            let line = format!(
                "vixdisklib-open {} as VDDK {major}, API version {version}: local disks",
                env!("CARGO_PKG_VERSION"),
            );
            (log, line, config.complaints)
        }
    };
    drop(current);
    log.note(&line);
    for complaint in complaints {
        let path = config_file.unwrap_or(Path::new("")).display();
        log.warn(&format!("VixDiskLib_InitEx: {path}: {complaint}"));
    }
    Ok(())
}

/// Ends one use of the library; the last one closes what is open and ends its threads.
pub(crate) fn exit() {
    if in_callback() {
        log().warn("VixDiskLib_Exit: called from a callback, ignored");
        return;
    }
    let last = {
        let mut current = CURRENT.write();
        match &mut *current {
            None => None,
            Some((_, users)) if *users > 1 => {
                *users -= 1;
                None
            }
            Some(_) => current.take(),
        }
    };
    if let Some((library, _)) = last {
        library.shut_down();
    }
}

/// The library, or the failure of a call that came before `InitEx`.
pub(crate) fn current() -> Result<Arc<Library>, Failure> {
    match &*CURRENT.read() {
        Some((library, _)) => Ok(Arc::clone(library)),
        None => Err(Failure::new(
            VixError::DISK_NOINIT,
            "VixDiskLib_InitEx has not been called",
        )),
    }
}

/// Where log lines go now; nowhere before `InitEx` and after `Exit`.
pub(crate) fn log() -> Log {
    match &*CURRENT.read() {
        Some((library, _)) => library.log.clone(),
        None => Log::default(),
    }
}

/// Whether the call comes from a callback, of an asynchronous request or of a long operation on this thread.
fn in_callback() -> bool {
    workers::on_worker() || progress::is_telling()
}

/// Refuses a call that waits for others on a thread that runs one: it would wait for itself.
pub(crate) fn refuse_in_callback() -> Result<(), Failure> {
    if in_callback() {
        return Err(Failure::new(
            VixError::OBJECT_IS_BUSY,
            "called from a callback, where it would wait for itself",
        ));
    }
    Ok(())
}

/// A connection. Disks of the local file system are all that there is to connect to.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Every disk opened through it is read-only, whatever the flags say.
    pub(crate) read_only: bool,
    /// What the caller connected with.
    pub(crate) params: ConnectParams,
}

/// Everything that lives from `InitEx` to `Exit`.
#[derive(Debug)]
pub(crate) struct Library {
    /// The number in the name that callers know it by.
    major: u32,
    /// The oldest that was asked for: no caller knows less of the structures than that.
    version: Mutex<ApiVersion>,
    log: Log,
    handles: RwLock<Handles<Connection, OpenDisk>>,
    workers: Workers,
}

impl Library {
    fn new(major: u32, version: ApiVersion, log: Log) -> Self {
        Self {
            major,
            version: Mutex::new(version),
            log,
            handles: RwLock::default(),
            workers: Workers::default(),
        }
    }

    /// Whether structures that callers fill in have the sector sizes. Only if the library and everybody who asked for a
    /// version are of VDDK 7.0 or later: what a caller does not have must not be read.
    pub(crate) fn takes_sector_sizes(&self) -> bool {
        self.gives_sector_sizes() && LONG_STRUCTURES <= *self.version.lock()
    }

    /// Whether structures that callers get have the sector sizes. That is for the library's own number to say, whatever
    /// version was asked for: it is what callers go by (source: nbdkit's vddk plugin, which asks for 6.5).
    pub(crate) fn gives_sector_sizes(&self) -> bool {
        LONG_STRUCTURES.0 <= self.major
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn connect(&self, connection: Connection) -> Result<Handle, Failure> {
        connection.params.require_local()?;
        Ok(self.handles.write().add_connection(connection))
    }

    pub(crate) fn connection(&self, handle: Handle) -> Result<Arc<Connection>, Failure> {
        let found = self.handles.read().connection(handle);
        found.ok_or_else(no_connection)
    }

    /// Refuses what changes disks through a connection that is for reading only.
    pub(crate) fn require_writable(&self, connection: Handle) -> Result<(), Failure> {
        if self.connection(connection)?.read_only {
            return Err(Failure::new(
                VixError::FILE_READ_ONLY,
                "the connection is for reading only",
            ));
        }
        Ok(())
    }

    /// Ends a connection. Disks left open on it are closed; the first failure of that is returned, all are logged.
    pub(crate) fn disconnect(&self, handle: Handle) -> Result<(), Failure> {
        let orphans = self.handles.write().remove_connection(handle);
        self.close_orphans(orphans.ok_or_else(no_connection)?, "VixDiskLib_Disconnect")
    }

    pub(crate) fn open(
        &self,
        connection: Handle,
        path: &Path,
        mode: Mode,
    ) -> Result<Handle, Failure> {
        let read_only = self.connection(connection)?.read_only;
        let mode = Mode {
            writable: mode.writable && !read_only,
            ..mode
        };
        let disk = OpenDisk::open(path, mode)?;
        let added = self.handles.write().add_disk(connection, disk);
        added.or_else(|disk| {
            disk.close()?;
            Err(no_connection())
        })
    }

    pub(crate) fn disk(&self, handle: Handle) -> Result<Arc<OpenDisk>, Failure> {
        let found = self.handles.read().disk(handle);
        found.ok_or_else(no_disk)
    }

    /// Closes a disk, after what other threads do with it has ended. The handle dies whatever is returned.
    pub(crate) fn close(&self, handle: Handle) -> Result<(), Failure> {
        let removed = self.handles.write().remove_disk(handle);
        removed.ok_or_else(no_disk)?.close()
    }

    /// Runs `work` on one of the library's threads, exactly once, or refuses and never runs it.
    pub(crate) fn submit(
        &self,
        disk: Arc<OpenDisk>,
        work: impl FnOnce(&OpenDisk) + Send + 'static,
    ) -> Result<(), Failure> {
        let ticket = disk.begin_request();
        let submitted = self.workers.submit(ticket, move || work(&disk));
        submitted.map_err(|refusal| match refusal {
            Refusal::Stopped => Failure::new(
                VixError::DISK_NOINIT,
                "VixDiskLib_Exit was called by another thread",
            ),
            Refusal::NoThread(error) => Failure::new(
                VixError::OUT_OF_MEMORY,
                format!("no thread for asynchronous requests could be started: {error}"),
            ),
        })
    }

    fn shut_down(&self) {
        let orphans = self.handles.write().clear();
        // Each failure is in the log, and `VixDiskLib_Exit` has no way to return one.
        let _ = self.close_orphans(orphans, "VixDiskLib_Exit");
        self.workers.stop();
    }

    fn close_orphans(&self, disks: Vec<Arc<OpenDisk>>, function: &str) -> Result<(), Failure> {
        let mut result = Ok(());
        for disk in disks {
            // No warning, which some programs print as an error: nothing is lost.
            self.log.note(&format!(
                "{function}: {:?} was left open, it is closed now",
                disk.path()
            ));
            if let Err(failure) = disk.close() {
                failure.report(function, &self.log);
                result = result.and(Err(Failure::silent(failure.code())));
            }
        }
        result
    }
}

fn no_connection() -> Failure {
    Failure::new(
        VixError::DISK_INVALID_CONNECTION,
        "this connection does not exist, or not any more",
    )
}

fn no_disk() -> Failure {
    Failure::new(
        VixError::INVALID_HANDLE,
        "this disk handle does not exist, or not any more",
    )
}
