//! A back end under test.

use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;
use vixdisklib::{
    Backend, ConnectOptions, ConnectParams, Credentials, Disk, Library, OpenFlags, Secret, Sector,
    SectorCount, SectorRange, Spec,
};
use vsphere_sim::{Inventory, Profile, Simulator, User, Vm};

use crate::support::{backends, flat_disk, vddk_like};

/// One live library at a time in a process: where tests share one, they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A back end, initialised.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) library: Library,
    /// The number of the release of VDDK whose shape it has; `None` for our own engine.
    pub(crate) release: Option<f32>,
    /// The servers of its disks, if they do not lie on this machine.
    servers: Option<Mutex<Vec<Simulator>>>,
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
        Self {
            library,
            release,
            servers: None,
        }
    }

    /// The embedded engine, with disks on servers that are simulated.
    fn remote() -> Self {
        Self {
            servers: Some(Mutex::default()),
            ..Self::start(Backend::Embedded)
        }
    }

    /// Whether its disks lie on a server.
    pub(crate) fn is_remote(&self) -> bool {
        self.servers.is_some()
    }

    /// A writable disk with these contents, in a folder of its own.
    pub(crate) fn disk(&self, contents: &[u8]) -> (TempDir, Disk) {
        self.disk_with(contents, OpenFlags::empty())
    }

    /// The same, opened with these flags.
    pub(crate) fn disk_with(&self, contents: &[u8], flags: OpenFlags) -> (TempDir, Disk) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = flat_disk(folder.path(), contents);
        let disk = match &self.servers {
            None => {
                let connection = self.library.connect_local().expect("local");
                connection.open_disk(&path, flags).expect("opens")
            }
            Some(servers) => {
                let (server, params) = serve(folder.path());
                servers.lock().expect("no panic under it").push(server);
                let connection = self.library.connect(params, &ConnectOptions::new());
                let connection = connection.expect("connected");
                connection
                    .open_disk("[datastore1] disk.vmdk", flags)
                    .expect("opens")
            }
        };
        (folder, disk)
    }
}

/// A server for the disk in a folder, and what connects to its machine.
fn serve(folder: &Path) -> (Simulator, ConnectParams) {
    let inventory = Inventory::new(Profile::Esxi8Vcenter)
        .user(User::new("root", "secret"))
        .datastore("datastore1", folder)
        .vm(Vm::new("web").disk("[datastore1] disk.vmdk".parse().expect("a name")))
        .complete()
        .expect("an inventory");
    let moref = inventory.vms[0].moref.clone();
    let server = Simulator::builder(inventory).start().expect("it starts");
    let params = ConnectParams::builder(Spec::Vm { moref })
        .server("127.0.0.1")
        .port(server.address().port())
        .thumbprint(server.thumbprint_sha1())
        .credentials(Credentials::Password {
            user: "root".to_owned(),
            password: Secret::new("secret".to_owned()).expect("no NUL"),
        })
        .build()
        .expect("complete");
    (server, params)
}

/// Runs a case on every back end, one after the other.
pub(crate) fn on_every_backend(case: impl Fn(&Subject)) {
    let _turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
    for backend in backends().into_iter().chain(vddk_like()) {
        eprintln!("back end: {backend:?}");
        case(&Subject::start(backend));
    }
    eprintln!("back end: the embedded engine, disks on a server");
    case(&Subject::remote());
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
