//! Taking and removing snapshots, with the disks: a new link for each disk, and a link copied into its parent.
//!
//! The disks are worked on while nobody holds the world: only [`World::begin_task`] keeps others from the machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use vmdk_engine::{
    AfterCommit, CommitOptions, Disk, DiskKind, Error, ErrorKind, ListGate, OpenOptions, commit,
    unlink, unwatched,
};

use super::{Machine, MachineSnapshot, SnapshotDisk, World};
use crate::inventory::{DatastorePath, snapshot_moref};
use crate::time;
use crate::vim::{Fault, Moref};

/// What a client says about a snapshot that it wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewSnapshot {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) quiesced: bool,
}

/// Why a snapshot was not taken or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{0:?} is not there any more")]
    Gone(Moref),
    #[error("{path}")]
    Disk { path: DatastorePath, source: Error },
}

impl SnapshotError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Gone(moref) => Fault::not_found(moref),
            Self::Disk { path, source } => {
                let kind = match source.kind() {
                    ErrorKind::AlreadyLocked => "FileLocked",
                    ErrorKind::NotFound | ErrorKind::ExtentNotFound => "FileNotFound",
                    ErrorKind::DiskFull => "NoDiskSpace",
                    _ => "FileFault",
                };
                let text = format!("An error occurred while working on {path}: {source}");
                Fault::file(kind, text, &path.to_string())
            }
        }
    }
}

/// A disk that gets a new link.
struct Grow {
    key: i32,
    top: DatastorePath,
    child: DatastorePath,
}

/// Takes a snapshot of a machine; gives its id.
pub(crate) fn take(
    world: &Mutex<World>,
    vm: &str,
    new: NewSnapshot,
) -> Result<String, SnapshotError> {
    let (plan, places, gate) = {
        let world = world.lock();
        let machine = world.machine(vm).ok_or_else(|| gone(vm))?;
        let mut plan = Vec::new();
        for disk in &machine.disks {
            let Some(top) = disk.links.first() else {
                continue;
            };
            plan.push(Grow {
                key: disk.key,
                top: top.clone(),
                child: world.free_child(top),
            });
        }
        let place = |grow: &Grow| Some((world.locate(&grow.top)?, world.locate(&grow.child)?));
        let places: Vec<_> = plan.iter().filter_map(place).collect();
        (plan, places, Arc::clone(&world.gate))
    };
    let mut made: Vec<&PathBuf> = Vec::new();
    for (grow, (top, child)) in plan.iter().zip(&places) {
        if let Err(source) = make_child(top, child, &gate) {
            for child in made {
                // It was made just now, and nobody knows it.
                let _ = unlink(child, &*gate);
            }
            let path = grow.top.clone();
            return Err(SnapshotError::Disk { path, source });
        }
        made.push(child);
    }
    let mut world = world.lock();
    let profile = world.profile;
    for grow in &plan {
        for fcd in world.fcds.iter_mut().filter(|fcd| fcd.path == grow.top) {
            fcd.path = grow.child.clone();
        }
    }
    let machine = world.machine_mut(vm).ok_or_else(|| gone(vm))?;
    Ok(machine.add_snapshot(&plan, new, |number| snapshot_moref(profile, vm, number)))
}

impl Machine {
    fn add_snapshot(
        &mut self,
        plan: &[Grow],
        new: NewSnapshot,
        moref: impl FnOnce(usize) -> String,
    ) -> String {
        self.snapshots_made += 1;
        let tracking = self.change_tracking;
        let mut disks = Vec::new();
        for grow in plan {
            let Some(disk) = self.disk_mut(grow.key) else {
                continue;
            };
            if tracking {
                disk.change_id = Some(disk.changes.end_epoch());
            }
            disks.push(SnapshotDisk {
                key: disk.key,
                links: disk.links.clone(),
                change_id: disk.change_id.clone(),
            });
            disk.links.insert(0, grow.child.clone());
            disk.thin = true;
        }
        let moref = moref(self.snapshots_made);
        self.snapshots.push(MachineSnapshot {
            moref: moref.clone(),
            number: i32::try_from(self.snapshots_made).unwrap_or(i32::MAX),
            parent: self.current.replace(moref.clone()),
            name: new.name,
            description: new.description,
            created: time::now(),
            quiesced: new.quiesced,
            disks,
        });
        moref
    }
}

fn make_child(top: &Path, child: &Path, gate: &Arc<ListGate>) -> Result<(), Error> {
    let parent = Disk::open(top, &OpenOptions::new().gate(gate.clone()))?;
    parent.create_child(child, DiskKind::MonolithicSparse, &mut unwatched)
}

fn gone(vm: &str) -> SnapshotError {
    SnapshotError::Gone(Moref::new("VirtualMachine", vm))
}

/// Removes a snapshot, and those that came after it if `children` is set.
pub(crate) fn remove(
    world: &Mutex<World>,
    moref: &str,
    children: bool,
) -> Result<(), SnapshotError> {
    let mut doomed = vec![moref.to_owned()];
    if children {
        let world = world.lock();
        if let Some((machine, _)) = world.snapshot(moref) {
            let mut seen = 0;
            while let Some(next) = doomed.get(seen).cloned() {
                doomed.extend(machine.after(Some(&next)).map(|after| after.moref.clone()));
                seen += 1;
            }
        }
    }
    // The newest first, so that each one's data goes the shortest way.
    for moref in doomed.iter().rev() {
        remove_one(world, moref)?;
    }
    Ok(())
}

/// What becomes of a link that holds what was written after a snapshot.
struct Merge {
    child: DatastorePath,
    place: PathBuf,
    /// Whether other links have it as their parent: then it stays, without data of its own.
    stays: bool,
}

fn remove_one(world: &Mutex<World>, moref: &str) -> Result<(), SnapshotError> {
    let no_snapshot = || SnapshotError::Gone(Moref::new("VirtualMachineSnapshot", moref));
    let (vm, merges, gate) = {
        let world = world.lock();
        let (machine, snapshot) = world.snapshot(moref).ok_or_else(no_snapshot)?;
        let merge = |disk: &SnapshotDisk| world.merge(machine, snapshot, disk);
        let merges: Vec<Merge> = snapshot.disks.iter().filter_map(merge).collect();
        (machine.moref.clone(), merges, Arc::clone(&world.gate))
    };
    for merge in merges {
        let afterwards = if merge.stays {
            AfterCommit::EmptyChild
        } else {
            AfterCommit::RemoveChild
        };
        let options = CommitOptions::new()
            .afterwards(afterwards)
            .gate(gate.clone());
        commit(&merge.place, &options, &mut unwatched).map_err(|source| SnapshotError::Disk {
            path: merge.child.clone(),
            source,
        })?;
        if !merge.stays {
            world.lock().forget_link(&vm, &merge.child);
        }
    }
    let mut world = world.lock();
    let machine = world.machine_mut(&vm).ok_or_else(|| gone(&vm))?;
    machine.forget_snapshot(moref);
    Ok(())
}

impl World {
    /// What to copy into the link that a snapshot holds, once the snapshot is gone: nothing where others need that link as
    /// it is.
    fn merge(
        &self,
        machine: &Machine,
        removed: &MachineSnapshot,
        disk: &SnapshotDisk,
    ) -> Option<Merge> {
        let frozen = disk.links.first()?;
        let others = machine
            .snapshots
            .iter()
            .filter(|other| other.moref != removed.moref);
        let others: Vec<_> = others
            .flat_map(|other| &other.disks)
            .map(|disk| &disk.links)
            .collect();
        let kept_by_fcd = self
            .fcds
            .iter()
            .flat_map(|fcd| &fcd.snapshots)
            .any(|snapshot| snapshot.path == *frozen);
        if kept_by_fcd || others.iter().any(|links| links.first() == Some(frozen)) {
            return None;
        }
        let present = machine.disks.iter().map(|disk| &disk.links);
        let chains: Vec<_> = present.chain(others).collect();
        let children: BTreeSet<_> = chains
            .iter()
            .filter_map(|links| {
                let position = links.iter().position(|link| link == frozen)?;
                links.get(position.checked_sub(1)?)
            })
            .collect();
        let [child] = children.into_iter().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Merge {
            child: child.clone(),
            place: self.locate(child)?,
            stays: chains
                .iter()
                .any(|links| links.iter().skip(1).any(|link| link == child)),
        })
    }

    /// A link was copied into its parent and removed.
    fn forget_link(&mut self, vm: &str, link: &DatastorePath) {
        let mut parent = None;
        if let Some(machine) = self.machine_mut(vm) {
            let present = machine.disks.iter_mut().map(|disk| &mut disk.links);
            let past = machine
                .snapshots
                .iter_mut()
                .flat_map(|snapshot| &mut snapshot.disks);
            for links in present.chain(past.map(|disk| &mut disk.links)) {
                if links.first() == Some(link) {
                    links.remove(0);
                    parent = links.first().cloned();
                }
            }
        }
        let Some(parent) = parent else { return };
        for fcd in self.fcds.iter_mut().filter(|fcd| fcd.path == *link) {
            fcd.path = parent.clone();
        }
    }

    /// A name for a new link that no file has: `web.vmdk` is followed by `web-000001.vmdk`.
    fn free_child(&self, top: &DatastorePath) -> DatastorePath {
        let stem = top.file().strip_suffix(".vmdk").unwrap_or(top.file());
        let base = match stem.rsplit_once('-') {
            Some((base, number)) if number.len() == 6 && number.parse::<u32>().is_ok() => base,
            _ => stem,
        };
        let candidates = (1..).map(|number: u32| top.with_file(format!("{base}-{number:06}.vmdk")));
        let is_free = |path: &DatastorePath| self.locate(path).is_none_or(|file| !file.exists());
        let mut free = candidates.filter(is_free);
        free.next().expect("there are fewer files than numbers")
    }
}

impl Machine {
    fn forget_snapshot(&mut self, moref: &str) {
        let Some(position) = self.snapshots.iter().position(|known| known.moref == moref) else {
            return;
        };
        let removed = self.snapshots.remove(position);
        for snapshot in &mut self.snapshots {
            if snapshot.parent.as_deref() == Some(moref) {
                snapshot.parent.clone_from(&removed.parent);
            }
        }
        if self.current.as_deref() == Some(moref) {
            self.current = removed.parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use vmdk_engine::Sector;

    use super::*;
    use crate::inventory::Inventory;
    use crate::profile::Profile;

    fn world(folder: &Path) -> Mutex<World> {
        let inventory = Inventory::demo(folder, Profile::Esxi8Direct).expect("it is made");
        Mutex::new(World::new(inventory).expect("its disks open"))
    }

    fn top(world: &Mutex<World>, vm: &str) -> PathBuf {
        let world = world.lock();
        let machine = world.machine(vm).expect("there is one");
        world
            .locate(&machine.disks[0].links[0])
            .expect("it is on a datastore")
    }

    fn write(world: &Mutex<World>, vm: &str, sector: u64, value: u8) {
        let options = OpenOptions::new().writable(true);
        let disk = Disk::open(top(world, vm), &options).expect("it opens");
        disk.write_at(Sector::new(sector), &[value; 512])
            .expect("it is written");
        disk.close().expect("it is closed");
    }

    fn read(path: &Path) -> [u8; 3] {
        let disk = Disk::open(path, &OpenOptions::new()).expect("it opens");
        [10, 11, 12].map(|sector| {
            let mut buf = [0; 512];
            disk.read_at(Sector::new(sector), &mut buf)
                .expect("it is read");
            buf[0]
        })
    }

    fn links(world: &Mutex<World>, vm: &str) -> usize {
        world.lock().machine(vm).expect("there is one").disks[0]
            .links
            .len()
    }

    #[test]
    fn a_snapshot_stays_as_it_was_and_goes_without_a_trace() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = world(folder.path());
        write(&world, "2", 10, 1);
        let before = top(&world, "2");
        let snapshot = take(&world, "2", NewSnapshot::default()).expect("it is taken");
        write(&world, "2", 11, 2);
        assert_eq!(read(&before), [1, 0, 0]);
        assert_eq!(read(&top(&world, "2")), [1, 2, 0]);
        remove(&world, &snapshot, false).expect("it is removed");
        assert_eq!(top(&world, "2"), before);
        assert_eq!(read(&before), [1, 2, 0]);
        assert_eq!(links(&world, "2"), 1);
        assert!(world.lock().snapshot(&snapshot).is_none());
    }

    #[test]
    fn of_three_snapshots_each_may_go_first() {
        for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            let folder = tempfile::tempdir().expect("a folder");
            let world = world(folder.path());
            let mut taken = Vec::new();
            for (sector, value) in (10..).zip([1, 2, 3]) {
                taken.push(take(&world, "2", NewSnapshot::default()).expect("it is taken"));
                write(&world, "2", sector, value);
            }
            for (count, position) in order.into_iter().enumerate() {
                remove(&world, &taken[position], false).expect("it is removed");
                assert_eq!(
                    read(&top(&world, "2")),
                    [1, 2, 3],
                    "{order:?} after {count}"
                );
            }
            let world = world.lock();
            let machine = world.machine("2").expect("there is one");
            assert!(machine.snapshots.is_empty() && machine.current.is_none());
        }
    }

    #[test]
    fn removing_with_children_removes_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = world(folder.path());
        let first = take(&world, "2", NewSnapshot::default()).expect("it is taken");
        write(&world, "2", 10, 7);
        take(&world, "2", NewSnapshot::default()).expect("it is taken");
        write(&world, "2", 11, 8);
        remove(&world, &first, true).expect("they are removed");
        assert_eq!(links(&world, "2"), 1);
        assert_eq!(read(&top(&world, "2")), [7, 8, 0]);
    }

    #[test]
    fn a_link_in_use_is_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = world(folder.path());
        let snapshot = take(&world, "2", NewSnapshot::default()).expect("it is taken");
        let open = Disk::open(top(&world, "2"), &OpenOptions::new()).expect("it opens");
        let error = remove(&world, &snapshot, false).expect_err("it is open");
        assert_eq!(error.fault().kind(), "FileLocked");
        drop(open);
        remove(&world, &snapshot, false).expect("it is free now");
    }
}
