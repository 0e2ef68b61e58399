//! Reading an inventory, and what a file may leave out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Datacenter, Host, Inventory, Snapshot, Vm};
use crate::profile::Profile;
use crate::random;

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("inventory {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is not TOML, or has other keys or values than an inventory.
    #[error("the inventory is not valid")]
    Parse(#[source] Box<toml::de::Error>),
    /// What it says cannot be.
    #[error("inventory: {object}: {problem}")]
    Invalid {
        /// What is wrong, such as `vm "web"`.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A disk of the demonstration was not made.
    #[error("a disk of the demonstration was not made")]
    Demo(#[source] vmdk_engine::Error),
    /// A folder of the demonstration was not made.
    #[error("the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Inventory {
    /// Reads a file. Folders in it are relative to the file's own.
    ///
    /// # Errors
    /// When it cannot be read, and those of [`from_toml`](Self::from_toml).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InventoryError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| InventoryError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Takes the text of a file; folders in it are relative to `folder`.
    ///
    /// # Errors
    /// [`InventoryError::Parse`], and [`InventoryError::Invalid`] for the first thing that cannot be.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self, InventoryError> {
        let parsed: Self =
            toml::from_str(text).map_err(|error| InventoryError::Parse(Box::new(error)))?;
        parsed.below(folder).complete()
    }

    fn below(mut self, folder: &Path) -> Self {
        for datastore in &mut self.datastores {
            datastore.folder = folder.join(&datastore.folder);
        }
        self
    }

    /// Fills in ids and UUIDs that were left out, a datacenter and a host if there is none, and refuses what cannot be.
    /// [`Builder::start`](crate::Builder::start) does the same; who needs the ids does it before.
    ///
    /// # Errors
    /// [`InventoryError::Invalid`] for the first thing that cannot be.
    pub fn complete(mut self) -> Result<Self, InventoryError> {
        let profile = self.profile;
        if self.datacenters.is_empty() {
            self.datacenters.push(Datacenter {
                moref: String::new(),
                name: if profile.is_vcenter() {
                    "dc"
                } else {
                    "ha-datacenter"
                }
                .to_owned(),
            });
        }
        if self.hosts.is_empty() {
            self.hosts.push(Host {
                name: "esxi.example".to_owned(),
                ..Host::default()
            });
        }
        let first_datacenter = self.datacenters[0].name.clone();
        for (position, datacenter) in self.datacenters.iter_mut().enumerate() {
            fill(&mut datacenter.moref, || {
                moref(profile, "datacenter", 2 + position)
            });
        }
        for (position, host) in self.hosts.iter_mut().enumerate() {
            fill(&mut host.moref, || moref(profile, "host", 10 + position));
            fill(&mut host.datacenter, || first_datacenter.clone());
        }
        for (position, datastore) in self.datastores.iter_mut().enumerate() {
            fill(&mut datastore.moref, || {
                moref(profile, "datastore", 30 + position)
            });
            fill(&mut datastore.datacenter, || first_datacenter.clone());
        }
        let first_host = self.hosts[0].name.clone();
        for (position, vm) in self.vms.iter_mut().enumerate() {
            fill(&mut vm.moref, || moref(profile, "vm", 100 + position));
            fill(&mut vm.host, || first_host.clone());
            vm.complete(profile);
        }
        for fcd in &mut self.fcds {
            fill(&mut fcd.id, random::uuid);
            for snapshot in &mut fcd.snapshots {
                fill(&mut snapshot.id, random::uuid);
            }
        }
        self.check()?;
        Ok(self)
    }
}

impl Vm {
    fn complete(&mut self, profile: Profile) {
        fill(&mut self.uuid, random::uuid);
        fill(&mut self.instance_uuid, random::uuid);
        for (position, disk) in (2000..).zip(&mut self.disks) {
            if disk.key == 0 {
                disk.key = position;
            }
        }
        let mut number = 0;
        let vm = self.moref.clone();
        let keys: Vec<i32> = self.disks.iter().map(|disk| disk.key).collect();
        let mut newest = String::new();
        for snapshot in &mut self.snapshots {
            newest = snapshot.complete(profile, &vm, &keys, &mut number);
        }
        fill(&mut self.current_snapshot, || newest);
    }
}

impl Snapshot {
    /// The id of the newest snapshot, this one or one that came after it.
    fn complete(&mut self, profile: Profile, vm: &str, keys: &[i32], number: &mut usize) -> String {
        *number += 1;
        fill(&mut self.moref, || snapshot_moref(profile, vm, *number));
        for (key, disk) in keys.iter().zip(&mut self.disks) {
            if disk.key == 0 {
                disk.key = *key;
            }
        }
        let mut newest = self.moref.clone();
        for child in &mut self.children {
            newest = child.complete(profile, vm, keys, number);
        }
        newest
    }
}

fn fill(text: &mut String, default: impl FnOnce() -> String) {
    if text.is_empty() {
        *text = default();
    }
}

/// An id as the server would give it.
fn moref(profile: Profile, kind: &str, number: usize) -> String {
    match (profile.is_vcenter(), kind) {
        (true, _) => format!("{kind}-{number}"),
        (false, "vm") => (number - 99).to_string(),
        (false, "host") if number == 10 => "ha-host".to_owned(),
        (false, "datacenter") if number == 2 => "ha-datacenter".to_owned(),
        (false, _) => format!("ha-{kind}-{number}"),
    }
}

/// The id of a snapshot, the `number`th of its machine.
pub(crate) fn snapshot_moref(profile: Profile, vm: &str, number: usize) -> String {
    if profile.is_vcenter() {
        // Unique among machines, whose ids differ in what follows the hyphen.
        let machine = vm.rsplit('-').next().unwrap_or(vm);
        format!("snapshot-{machine}{number:04}")
    } else {
        format!("{vm}-snapshot-{number}")
    }
}
