//! A running simulator and a client that is logged in to it.

#![allow(dead_code, reason = "no test needs all of it")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vmdk_engine::{Disk, Sector};
use vsphere_nfc::{
    Access, Compression, ConnectOptions, Credentials, DiskDialer, DiskPlace, Error, Host,
    ManagedObject, OpenOptions, RemoteDisk, Secret, Transport, TrustedCertificate,
};
use vsphere_sim::{Builder, Inventory, Profile, Simulator};

/// A demonstration that runs, in a folder that goes with it.
pub(crate) struct Demo {
    pub(crate) simulator: Simulator,
    pub(crate) inventory: Inventory,
    pub(crate) folder: TempDir,
}

impl Demo {
    pub(crate) fn start(profile: Profile) -> Self {
        Self::start_with(profile, |builder| builder)
    }

    pub(crate) fn start_with(profile: Profile, change: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inventory = Inventory::demo(folder.path(), profile).expect("a demonstration");
        let builder = change(Simulator::builder(inventory.clone()));
        Self {
            simulator: builder.start().expect("it starts"),
            inventory,
            folder,
        }
    }

    pub(crate) fn login(&self) -> Result<Arc<Host>, Error> {
        let user = &self.inventory.users[0];
        let credentials = Credentials::Password {
            user: user.name.clone(),
            password: Secret::new(user.password.reveal().to_owned()),
        };
        let thumbprint = self
            .simulator
            .thumbprint_sha256()
            .parse()
            .expect("it is one");
        let options = ConnectOptions::new("127.0.0.1", credentials)
            .port(self.simulator.address().port())
            .trusted(TrustedCertificate::Thumbprint(thumbprint));
        Host::connect(options).map(Arc::new)
    }

    /// The machine `web`, which runs, and the link of its first disk that its snapshot holds.
    pub(crate) fn frozen(&self) -> (ManagedObject, String) {
        let vm = &self.inventory.vms[0];
        let path = vm.snapshots[0].disks[0].path.to_string();
        (ManagedObject::vm(vm.moref.clone()), path)
    }

    /// The machine `db`, which is off, and its first disk.
    pub(crate) fn idle(&self) -> (ManagedObject, String) {
        let vm = &self.inventory.vms[1];
        (
            ManagedObject::vm(vm.moref.clone()),
            vm.disks[0].path.to_string(),
        )
    }

    pub(crate) fn dialer(
        &self,
        host: &Arc<Host>,
        (vm, path): &(ManagedObject, String),
        transport: Transport,
        writable: bool,
    ) -> DiskDialer {
        let place = DiskPlace {
            vm: vm.clone(),
            path: path.clone(),
            access: if writable {
                Access::Writable
            } else {
                Access::ReadOnly
            },
            transport,
        };
        DiskDialer::new(Arc::clone(host), place)
    }

    /// Opens a disk for reading, encrypted and not compressed.
    pub(crate) fn open(&self, place: &(ManagedObject, String)) -> Result<RemoteDisk, Error> {
        let host = self.login()?;
        let dialer = self.dialer(&host, place, Transport::NbdSsl, false);
        RemoteDisk::open(dialer, &place.1, &OpenOptions::new())
    }

    /// What a disk of the only datastore holds, without the simulator.
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        let file = path
            .strip_prefix("[datastore1] ")
            .expect("it is on the datastore");
        let options = vmdk_engine::OpenOptions::new();
        let disk = Disk::open(self.folder.path().join(file), &options).expect("it opens");
        let mut bytes = vec![0; usize::try_from(disk.capacity().get() * 512).expect("it is small")];
        disk.read_at(Sector::new(0), &mut bytes)
            .expect("it is read");
        bytes
    }
}

/// Waits, for some seconds, until something is so.
pub(crate) fn eventually(is_so: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    is_so()
}

pub(crate) fn read_all(disk: &RemoteDisk) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(disk.capacity().get() * 512).expect("it is small")];
    disk.read_at(Sector::new(0), &mut bytes)?;
    Ok(bytes)
}

pub(crate) const METHODS: [Compression; 4] = [
    Compression::None,
    Compression::Zlib,
    Compression::FastLz,
    Compression::SkipZ,
];
