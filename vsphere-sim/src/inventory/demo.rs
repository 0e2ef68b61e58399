//! An inventory that is made on the spot, disks and all.

use std::fs;
use std::path::Path;

use vmdk_engine::{CreateOptions, Disk, DiskKind, OpenOptions, Sector, SectorCount, unwatched};

use super::{
    Datastore, DatastorePath, Fcd, FcdSnapshot, Inventory, InventoryError, Power, Snapshot, User,
    Vm, VmDisk,
};
use crate::profile::Profile;
use crate::random;

/// The name of the user of the demonstration.
const USER: &str = "administrator@vsphere.local";
/// The only datastore.
const DATASTORE: &str = "datastore1";
/// Each disk is so large: small enough to be copied in no time, and not a multiple of large buffers.
const CAPACITY: SectorCount = SectorCount::new(16 * 2048 + 8);

impl Inventory {
    /// Makes an inventory with its disks in `folder`, which must exist: the machine `web` runs, with a snapshot and two
    /// disks, a growing and a preallocated one; the machine `db` is off, has one growing disk, and has a first class disk
    /// attached, of which there is a snapshot, unless the profile is that of a single host. The user is
    /// `administrator@vsphere.local` with a random password.
    ///
    /// # Errors
    /// When the disks cannot be made, for example because they are there.
    pub fn demo(folder: impl AsRef<Path>, profile: Profile) -> Result<Self, InventoryError> {
        let store = Store::new(folder.as_ref());
        let web = store.make("web", "web", DiskKind::MonolithicSparse, 1)?;
        let web_child = store.child(&web, "web-000001", 2)?;
        let data = store.make("web", "web_1", DiskKind::MonolithicFlat, 3)?;
        let data_child = store.child(&data, "web_1-000001", 4)?;
        let db = store.make("db", "db", DiskKind::MonolithicSparse, 5)?;
        let mut db_disks = vec![disk(2000, &db)];
        let mut fcds = Vec::new();
        if profile.is_vcenter() {
            let fcd = store.make("fcd", "volume", DiskKind::MonolithicSparse, 6)?;
            let fcd_child = store.child(&fcd, "volume-000001", 7)?;
            db_disks.push(disk(2001, &fcd_child));
            fcds.push(Fcd {
                name: "volume".to_owned(),
                path: fcd_child,
                consumer: "db".to_owned(),
                snapshots: vec![FcdSnapshot {
                    description: "before the demonstration".to_owned(),
                    path: fcd,
                    ..FcdSnapshot::default()
                }],
                ..Fcd::default()
            });
        }
        let web_snapshot = Snapshot {
            name: "nightly".to_owned(),
            description: "before the demonstration".to_owned(),
            disks: vec![disk(2000, &web), disk(2001, &data)],
            ..Snapshot::default()
        };
        let inventory = Self {
            profile,
            users: vec![User::new(USER, random::secret())],
            datastores: vec![Datastore {
                name: DATASTORE.to_owned(),
                folder: folder.as_ref().to_owned(),
                ..Datastore::default()
            }],
            vms: vec![
                Vm {
                    name: "web".to_owned(),
                    power: Power::On,
                    change_tracking: true,
                    disks: vec![disk(2000, &web_child), disk(2001, &data_child)],
                    snapshots: vec![web_snapshot],
                    ..Vm::default()
                },
                Vm {
                    name: "db".to_owned(),
                    disks: db_disks,
                    ..Vm::default()
                },
            ],
            fcds,
            ..Self::default()
        };
        inventory.complete()
    }
}

fn disk(key: i32, path: &DatastorePath) -> VmDisk {
    VmDisk {
        key,
        path: path.clone(),
    }
}

/// The folder of the datastore.
struct Store<'a> {
    folder: &'a Path,
}

impl<'a> Store<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// A new disk with some data.
    fn make(
        &self,
        folder: &str,
        name: &str,
        kind: DiskKind,
        seed: u8,
    ) -> Result<DatastorePath, InventoryError> {
        let place = self.folder.join(folder);
        fs::create_dir_all(&place).map_err(|source| InventoryError::Folder {
            path: place,
            source,
        })?;
        let path = named(format!("{folder}/{name}.vmdk"));
        let options = CreateOptions::new(kind, CAPACITY);
        let made = || {
            let disk = Disk::create(path.below(self.folder), &options, &mut unwatched)?;
            fill(&disk, seed)?;
            disk.close()
        };
        made().map_err(InventoryError::Demo)?;
        Ok(path)
    }

    /// A child of a disk with some data of its own.
    fn child(
        &self,
        parent: &DatastorePath,
        name: &str,
        seed: u8,
    ) -> Result<DatastorePath, InventoryError> {
        let hint = format!("{name}.vmdk");
        let child = parent.neighbour(&hint).expect("it is next to its parent");
        let made = || {
            let opened = Disk::open(parent.below(self.folder), &OpenOptions::new())?;
            let place = child.below(self.folder);
            opened.create_child(&place, DiskKind::MonolithicSparse, &mut unwatched)?;
            drop(opened);
            let disk = Disk::open(&place, &OpenOptions::new().writable(true))?;
            fill(&disk, seed)?;
            disk.close()
        };
        made().map_err(InventoryError::Demo)?;
        Ok(child)
    }
}

fn named(file: String) -> DatastorePath {
    DatastorePath::default().on(DATASTORE).with_file(file)
}

/// Writes 64 KiB into some of the disk's MiB, and its last sector; what, and where, depends on the seed.
fn fill(disk: &Disk, seed: u8) -> Result<(), vmdk_engine::Error> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // xorshift64: contents that do not compress, the same in each run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut piece = vec![0_u8; 64 << 10];
    for start in (0..16_u64).step_by(1 + usize::from(seed % 3)) {
        for word in piece.chunks_exact_mut(8) {
            word.copy_from_slice(&next().to_le_bytes());
        }
        // Half of each piece does compress.
        let text = format!("demonstration {seed} {start} ").into_bytes();
        for (byte, letter) in piece[32 << 10..].iter_mut().zip(text.iter().cycle()) {
            *byte = *letter;
        }
        disk.write_at(Sector::new(start * 2048 + 128 * u64::from(seed)), &piece)?;
    }
    disk.write_at(Sector::new(CAPACITY.get() - 1), &piece[..512])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_demonstration() {
        for profile in Profile::ALL {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let demo = Inventory::demo(folder.path(), profile).expect("it is made");
            assert_eq!(demo.vms.len(), 2);
            assert_eq!(demo.fcds.is_empty(), !profile.is_vcenter());
            assert!(
                Inventory::demo(folder.path(), profile).is_err(),
                "nothing is overwritten"
            );
        }
    }
}
