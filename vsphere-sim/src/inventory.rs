//! What there is: users, hosts, datastores, virtual machines, first class disks.
//!
//! ```text
//! Inventory        what a file says                              inventory.rs
//!  ├─ build        making one in a program                     build.rs
//!  ├─ path         names of files on datastores                  path.rs
//!  ├─ file         reading it, and what a file may leave out     file.rs
//!  ├─ check        what cannot be                                check.rs
//!  └─ demo         one that is made on the spot, disks and all   demo.rs
//! ```

mod build;
mod check;
mod demo;
mod file;
mod path;

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use zeroize::Zeroizing;

pub use file::InventoryError;
pub(crate) use file::snapshot_moref;
pub use path::{DatastorePath, InvalidDatastorePath};

use crate::profile::Profile;

/// What a simulated server has, as an inventory file says it.
///
/// A file is TOML. Ids (`moref`) and UUIDs that it leaves out are made up when it is read; relative folders are relative
/// to the file.
///
/// ```
/// use vsphere_sim::Inventory;
///
/// # let scratch = tempfile::tempdir()?;
/// # let folder = scratch.path();
/// # let demo = Inventory::demo(folder, Default::default())?;
/// # drop(demo);
/// let text = r#"
///     profile = "esxi8-vcenter"
///
///     [[user]]
///     name = "backup@vsphere.local"
///     password = "secret"
///
///     [[datastore]]
///     name = "datastore1"
///     folder = "."
///
///     [[vm]]
///     name = "web"
///     moref = "vm-16"
///     power = "off"
///
///     [[vm.disk]]
///     key = 2000
///     path = "[datastore1] web/web.vmdk"
/// "#;
/// let inventory = Inventory::from_toml(text, folder)?;
/// assert_eq!(inventory.vms[0].moref, "vm-16");
/// assert_eq!(inventory.datacenters.len(), 1, "made up, for a server has one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Inventory {
    /// Which server it is.
    pub profile: Profile,
    /// Who may log in.
    #[serde(rename = "user")]
    pub users: Vec<User>,
    /// The datacenters; one, if a file has none.
    #[serde(rename = "datacenter")]
    pub datacenters: Vec<Datacenter>,
    /// The hosts; one, if a file has none.
    #[serde(rename = "host")]
    pub hosts: Vec<Host>,
    /// The datastores.
    #[serde(rename = "datastore")]
    pub datastores: Vec<Datastore>,
    /// The virtual machines.
    #[serde(rename = "vm")]
    pub vms: Vec<Vm>,
    /// The first class disks; only a vCenter shows them.
    #[serde(rename = "fcd")]
    pub fcds: Vec<Fcd>,
}

/// Somebody who may log in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct User {
    /// The name, such as `administrator@vsphere.local`; not empty.
    pub name: String,
    /// The password; not empty.
    pub password: Password,
    /// May only look: calls that change something, and tickets for writing, fault with `NoPermission`.
    pub read_only: bool,
}

impl User {
    /// Somebody who may do everything.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: Password(Zeroizing::new(password.into())),
            read_only: false,
        }
    }
}

/// A password; wiped when dropped, and never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The text, for clients that have to log in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is this text, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        let difference = own.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
        own.len() == other.len() && difference == 0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A datacenter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Datacenter {
    /// Its id, such as `datacenter-2`.
    pub moref: String,
    /// Its name.
    pub name: String,
}

/// An ESXi host. All hosts share one data port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Host {
    /// Its id, such as `host-10`.
    pub moref: String,
    /// Its name.
    pub name: String,
    /// The name of its datacenter; the first one, if a file does not say.
    pub datacenter: String,
}

/// A datastore: a folder of this machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Datastore {
    /// Its id, such as `datastore-11`.
    pub moref: String,
    /// Its name, as in `[name] folder/disk.vmdk`.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The name of its datacenter; the first one, if a file does not say.
    pub datacenter: String,
}

/// A virtual machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Vm {
    /// Its id: such as `vm-16`, or digits on a host that is logged in to directly.
    pub moref: String,
    /// Its name.
    pub name: String,
    /// Its BIOS UUID.
    pub uuid: String,
    /// Its vCenter-wide UUID.
    pub instance_uuid: String,
    /// Whether it runs: `on`, `off`.
    pub power: Power,
    /// The name of its host; the first one, if a file does not say.
    pub host: String,
    /// Whether changes of its disks are tracked from the start.
    pub change_tracking: bool,
    /// Its disks.
    #[serde(rename = "disk")]
    pub disks: Vec<VmDisk>,
    /// Its first snapshots, each with those that came after it.
    #[serde(rename = "snapshot")]
    pub snapshots: Vec<Snapshot>,
    /// The id of the snapshot that it goes on from; the newest one, if a file does not say.
    pub current_snapshot: String,
}

/// Whether a virtual machine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// It runs: what it writes to cannot be opened.
    On,
    /// It does not.
    #[default]
    Off,
}

/// A disk of a virtual machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct VmDisk {
    /// The key of the device; 2000 and up, if a file does not say.
    pub key: i32,
    /// The file that the machine writes to: with snapshots, the newest link.
    pub path: DatastorePath,
}

/// A snapshot of a virtual machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its id, such as `snapshot-27`.
    pub moref: String,
    /// Its name.
    pub name: String,
    /// What somebody wrote about it.
    pub description: String,
    /// The disks as they were: the links that are not written to since.
    #[serde(rename = "disk")]
    pub disks: Vec<VmDisk>,
    /// The snapshots that came after it.
    #[serde(rename = "snapshot")]
    pub children: Vec<Snapshot>,
}

/// A first class disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fcd {
    /// Its id, a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: DatastorePath,
    /// The name of the machine that it is attached to; nobody's, if a file does not say.
    pub consumer: String,
    /// Its snapshots, the oldest first.
    #[serde(rename = "snapshot")]
    pub snapshots: Vec<FcdSnapshot>,
}

/// A snapshot of a first class disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FcdSnapshot {
    /// Its id, a UUID.
    pub id: String,
    /// What somebody wrote about it.
    pub description: String,
    /// The link that is not written to since.
    pub path: DatastorePath,
}
