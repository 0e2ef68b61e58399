//! A back end under test.

use std::sync::Mutex;

use tempfile::TempDir;
use vixdisklib::{Backend, Disk, Library, OpenFlags, Sector, SectorCount, SectorRange};

use crate::support::{backends, flat_disk, vddk_like};

/// One live library at a time in a process: where tests share one, they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A back end, initialised.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) library: Library,
    /// The number of the release of VDDK whose shape it has; `None` for our own engine.
    pub(crate) release: Option<f32>,
}

impl Subject {
    fn start(backend: Backend) -> Self {
        let release = match &backend {
            Backend::Library(folder) => folder
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix("vddk-")?.parse().ok()),
            _ => None,
        };
        let library = Library::builder(backend).open().expect("a library");
        Self { library, release }
    }

    /// A writable disk with these contents, in a folder of its own.
    pub(crate) fn disk(&self, contents: &[u8]) -> (TempDir, Disk) {
        self.disk_with(contents, OpenFlags::empty())
    }

    /// The same, opened with these flags.
    pub(crate) fn disk_with(&self, contents: &[u8], flags: OpenFlags) -> (TempDir, Disk) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = flat_disk(folder.path(), contents);
        let connection = self.library.connect_local().expect("local");
        let disk = connection.open_disk(&path, flags).expect("opens");
        (folder, disk)
    }
}

/// Runs a case on every back end, one after the other.
pub(crate) fn on_every_backend(case: impl Fn(&Subject)) {
    let _turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
    for backend in backends().into_iter().chain(vddk_like()) {
        eprintln!("back end: {backend:?}");
        case(&Subject::start(backend));
    }
}

pub(crate) fn range(start: u64, count: u64) -> SectorRange {
    SectorRange::new(Sector::new(start), SectorCount::new(count)).expect("fits")
}

/// The whole content of a disk.
pub(crate) fn contents(disk: &Disk) -> Vec<u8> {
    let length = disk.capacity().get() * 512;
    let mut bytes = vec![0; usize::try_from(length).expect("fits")];
    disk.read_at(Sector::ZERO, &mut bytes).expect("reads");
    bytes
}
