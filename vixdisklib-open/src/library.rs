//! The library between `InitEx` and `Exit`: its connections, disks and threads.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use disk_units::SectorRange;
use parking_lot::{Mutex, RwLock};
use vixdisklib_sys::VixError;

use crate::config::{Config, Network};
use crate::disk::OpenDisk;
use crate::error::Failure;
use crate::handles::{Handle, Handles};
use crate::log::Log;
use crate::medium::{self, Medium};
use crate::mode::Mode;
use crate::params::ConnectParams;
use crate::progress;
use crate::remote;
use crate::requests::Finish;
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
            let library = Library::new(major, version, log.clone(), config.network);
            *current = Some((Arc::new(library), 1));
            let line = format!(
                "vixdisklib-open {} as VDDK {major}, API version {version}: disks of this machine, and of servers over nbdssl and nbd",
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

/// A connection: to the files of this machine, or to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Every disk opened through it is read-only, whatever the flags say.
    read_only: bool,
    /// What the caller connected with.
    pub(crate) params: ConnectParams,
    server: Option<remote::Connection>,
}

impl Connection {
    /// Refuses what is possible with files of this machine only.
    fn require_local(&self) -> Result<(), Failure> {
        match self.server {
            None => Ok(()),
            Some(_) => Err(medium::local_only()),
        }
    }
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
    network: Network,
}

impl Library {
    fn new(major: u32, version: ApiVersion, log: Log, network: Network) -> Self {
        Self {
            major,
            version: Mutex::new(version),
            log,
            handles: RwLock::default(),
            workers: Workers::default(),
            network,
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

    /// What the configuration file sets about networks.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Connects to the server that the parameters name, if they name one.
    pub(crate) fn connect(
        &self,
        params: ConnectParams,
        read_only: bool,
        request: remote::Request<'_>,
    ) -> Result<Handle, Failure> {
        let server = match params.is_local() {
            true => None,
            false => Some(remote::Connection::new(&params, request, &self.network)?),
        };
        Ok(self.handles.write().add_connection(Connection {
            read_only,
            params,
            server,
        }))
    }

    pub(crate) fn connection(&self, handle: Handle) -> Result<Arc<Connection>, Failure> {
        let found = self.handles.read().connection(handle);
        found.ok_or_else(no_connection)
    }

    /// Refuses a connection that is not to the files of this machine.
    pub(crate) fn require_local(&self, connection: Handle) -> Result<(), Failure> {
        self.connection(connection)?.require_local()
    }

    /// Refuses what changes disks of this machine through a connection that is for reading only.
    pub(crate) fn require_writable(&self, connection: Handle) -> Result<(), Failure> {
        let connection = self.connection(connection)?;
        connection.require_local()?;
        if connection.read_only {
            return Err(Failure::new(
                VixError::FILE_READ_ONLY,
                "the connection is for reading only",
            ));
        }
        Ok(())
    }

    /// Ends a connection. Disks left open on it are closed; the first failure of that is returned, all are logged.
    pub(crate) fn disconnect(&self, handle: Handle) -> Result<(), Failure> {
        let removed = self.handles.write().remove_connection(handle);
        // The connection is dropped last, and without a lock: it logs out.
        let (_connection, orphans) = removed.ok_or_else(no_connection)?;
        self.close_orphans(orphans, "VixDiskLib_Disconnect")
    }

    /// Opens a disk. Which one may be clear without a path, for a connection to a server.
    pub(crate) fn open(
        &self,
        handle: Handle,
        path: Option<&Path>,
        mode: Mode,
    ) -> Result<Handle, Failure> {
        let connection = self.connection(handle)?;
        let server = connection.server.as_ref();
        let read_only =
            connection.read_only || server.is_some_and(remote::Connection::is_read_only);
        let mode = Mode {
            writable: mode.writable && !read_only,
            ..mode
        };
        let disk = match (server, path) {
            (Some(server), _) => {
                let disk = server.open(path, mode, &self.log)?;
                let path = Path::new(disk.path()).to_owned();
                OpenDisk::new(&path, mode, Medium::Remote(disk))
            }
            (None, Some(path)) => OpenDisk::open(path, mode)?,
            (None, None) => return Err(Failure::new(VixError::INVALID_ARG, "path is null")),
        };
        let added = self.handles.write().add_disk(handle, disk);
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

    /// Reads into a buffer as long as `range`, and tells `finish` on one of the library's threads, exactly once; or refuses,
    /// and never does.
    pub(crate) fn submit_read(
        &self,
        disk: Arc<OpenDisk>,
        range: SectorRange,
        buffer: impl AsMut<[u8]> + Send + 'static,
        finish: impl Finish,
    ) -> Result<(), Failure> {
        if !disk.answers_by_itself() {
            let mut buffer = buffer;
            return self.submit(disk, move |disk| {
                finish.finish(|| disk.read(range, buffer.as_mut()));
            });
        }
        let done = self.completion(&disk, finish)?;
        disk.begin_read(range, buffer, done)
    }

    /// Writes a buffer as long as `range`; else as [`submit_read`](Self::submit_read).
    pub(crate) fn submit_write(
        &self,
        disk: Arc<OpenDisk>,
        range: SectorRange,
        data: impl AsRef<[u8]> + Send + 'static,
        finish: impl Finish,
    ) -> Result<(), Failure> {
        if !disk.answers_by_itself() {
            return self.submit(disk, move |disk| {
                finish.finish(|| disk.write(range, data.as_ref()));
            });
        }
        let done = self.completion(&disk, finish)?;
        disk.begin_write(range, data, done)
    }

    /// What a disk that answers by itself is to call: it leaves the rest to a thread of the library, as callbacks may take
    /// their time, and use the disk.
    fn completion(
        &self,
        disk: &OpenDisk,
        finish: impl Finish,
    ) -> Result<impl FnOnce(Result<(), Failure>) + Send + 'static, Failure> {
        let completions = self.workers.completions().map_err(refused)?;
        let ticket = disk.begin_request();
        Ok(move |result| completions.push(ticket, move || finish.finish(|| result)))
    }

    /// Runs `work` on one of the library's threads, exactly once, or refuses and never runs it.
    fn submit(
        &self,
        disk: Arc<OpenDisk>,
        work: impl FnOnce(&OpenDisk) + Send + 'static,
    ) -> Result<(), Failure> {
        let ticket = disk.begin_request();
        let submitted = self.workers.submit(ticket, move || work(&disk));
        submitted.map_err(refused)
    }

    fn shut_down(&self) {
        let (_connections, orphans) = self.handles.write().clear();
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

/// Why no thread runs a request.
fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Stopped => Failure::new(
            VixError::DISK_NOINIT,
            "VixDiskLib_Exit was called by another thread",
        ),
        Refusal::NoThread(error) => Failure::new(
            VixError::OUT_OF_MEMORY,
            format!("no thread for asynchronous requests could be started: {error}"),
        ),
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
