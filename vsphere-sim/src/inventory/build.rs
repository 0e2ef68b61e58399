//! Inventories made by a program instead of a file.

use std::path::PathBuf;

use super::{Datastore, DatastorePath, Inventory, Power, Snapshot, User, Vm, VmDisk};
use crate::profile::Profile;

/// ```
/// use vmdk_engine::{CreateOptions, Disk, DiskKind, SectorCount, unwatched};
/// use vsphere_sim::{Inventory, Profile, Simulator, User, Vm};
///
/// # let scratch = tempfile::tempdir()?;
/// # let folder = scratch.path();
/// let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
/// Disk::create(folder.join("web.vmdk"), &options, &mut unwatched)?.close()?;
///
/// let inventory = Inventory::new(Profile::Esxi8Direct)
///     .user(User::new("root", "secret"))
///     .datastore("datastore1", folder)
///     .vm(Vm::new("web").disk("[datastore1] web.vmdk".parse()?))
///     .complete()?;
/// assert_eq!(inventory.vms[0].moref, "1");
/// let simulator = Simulator::builder(inventory).start()?;
/// # drop(simulator);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Inventory {
    /// An inventory without anything in it.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    /// Adds somebody who may log in.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Adds a datastore: a folder that exists.
    #[must_use]
    pub fn datastore(mut self, name: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        self.datastores.push(Datastore {
            name: name.into(),
            folder: folder.into(),
            ..Datastore::default()
        });
        self
    }

    /// Adds a virtual machine.
    #[must_use]
    pub fn vm(mut self, vm: Vm) -> Self {
        self.vms.push(vm);
        self
    }
}

impl Vm {
    /// A machine that is off and has no disks.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds a disk, by the link that the machine writes to. The first one has the key 2000.
    #[must_use]
    pub fn disk(mut self, path: DatastorePath) -> Self {
        self.disks.push(VmDisk { key: 0, path });
        self
    }

    /// Lets it run: what it writes to cannot be opened.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.power = Power::On;
        self
    }

    /// Adds a snapshot that has none before it.
    #[must_use]
    pub fn snapshot(mut self, snapshot: Snapshot) -> Self {
        self.snapshots.push(snapshot);
        self
    }
}

impl Snapshot {
    /// A snapshot of a machine without disks.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds a disk, by the link that is not written to since; in the order of the machine's disks.
    #[must_use]
    pub fn disk(mut self, path: DatastorePath) -> Self {
        self.disks.push(VmDisk { key: 0, path });
        self
    }
}
