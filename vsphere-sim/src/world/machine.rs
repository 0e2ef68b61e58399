//! A virtual machine: its disks, its snapshots, what is forbidden for the moment.

use std::ops::Range;

use vmdk_engine::Error;

use super::World;
use super::changes::ChangeLog;
use crate::inventory::{DatastorePath, Power, Snapshot, Vm};
use crate::time;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) moref: String,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) instance_uuid: String,
    pub(crate) power: Power,
    /// The id of the host.
    pub(crate) host: String,
    pub(crate) change_tracking: bool,
    pub(crate) disks: Vec<MachineDisk>,
    /// Parents before their children.
    pub(crate) snapshots: Vec<MachineSnapshot>,
    /// The id of the snapshot that it goes on from.
    pub(crate) current: Option<String>,
    /// How many snapshots there were.
    pub(crate) snapshots_made: usize,
    /// Methods that are disabled, with who did it.
    pub(crate) disabled: Vec<(String, String)>,
    /// The id of the task that works on its disks.
    pub(crate) busy: Option<String>,
}

#[derive(Debug)]
pub(crate) struct MachineDisk {
    pub(crate) key: i32,
    /// The newest first: that one the machine writes to.
    pub(crate) links: Vec<DatastorePath>,
    /// In bytes.
    pub(crate) capacity: u64,
    pub(crate) thin: bool,
    pub(crate) uuid: Option<String>,
    pub(crate) changes: ChangeLog,
    /// Who asks for what was changed since now says this.
    pub(crate) change_id: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct MachineSnapshot {
    pub(crate) moref: String,
    pub(crate) number: i32,
    /// The id of the snapshot before it.
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created: String,
    pub(crate) quiesced: bool,
    pub(crate) disks: Vec<SnapshotDisk>,
}

/// A disk as it was at a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotDisk {
    pub(crate) key: i32,
    pub(crate) links: Vec<DatastorePath>,
    pub(crate) change_id: Option<String>,
}

impl Machine {
    pub(super) fn new(world: &World, vm: &Vm) -> Result<Self, Error> {
        let mut disks = Vec::new();
        for disk in &vm.disks {
            let chain = world.chain(&disk.path)?;
            disks.push(MachineDisk {
                key: disk.key,
                capacity: chain.capacity.get() * 512,
                thin: chain.thin,
                uuid: chain.uuid,
                links: chain.links,
                changes: ChangeLog::new(),
                change_id: None,
            });
        }
        let host = world.host_named(&vm.host).map(|host| host.moref.clone());
        let mut machine = Self {
            moref: vm.moref.clone(),
            name: vm.name.clone(),
            uuid: vm.uuid.clone(),
            instance_uuid: vm.instance_uuid.clone(),
            power: vm.power,
            host: host.unwrap_or_default(),
            change_tracking: vm.change_tracking,
            disks,
            snapshots: Vec::new(),
            current: (!vm.current_snapshot.is_empty()).then(|| vm.current_snapshot.clone()),
            snapshots_made: 0,
            disabled: Vec::new(),
            busy: None,
        };
        for snapshot in &vm.snapshots {
            machine.add(world, snapshot, None)?;
        }
        Ok(machine)
    }

    fn add(
        &mut self,
        world: &World,
        snapshot: &Snapshot,
        parent: Option<&str>,
    ) -> Result<(), Error> {
        self.snapshots_made += 1;
        let mut disks = Vec::new();
        for disk in &snapshot.disks {
            let tracked = self
                .change_tracking
                .then(|| self.disk_mut(disk.key))
                .flatten();
            let change_id = tracked.map(|known| known.changes.end_epoch());
            if let (Some(id), Some(known)) = (&change_id, self.disk_mut(disk.key)) {
                known.change_id = Some(id.clone());
            }
            disks.push(SnapshotDisk {
                key: disk.key,
                links: world.chain(&disk.path)?.links,
                change_id,
            });
        }
        self.snapshots.push(MachineSnapshot {
            moref: snapshot.moref.clone(),
            number: i32::try_from(self.snapshots_made).unwrap_or(i32::MAX),
            parent: parent.map(str::to_owned),
            name: snapshot.name.clone(),
            description: snapshot.description.clone(),
            created: time::now(),
            quiesced: false,
            disks,
        });
        for child in &snapshot.children {
            self.add(world, child, Some(&snapshot.moref))?;
        }
        Ok(())
    }

    /// Its own folder, on the datastore of its first disk.
    pub(crate) fn home(&self) -> String {
        let path = self.disks.first().and_then(|disk| disk.links.first());
        let Some(path) = path else {
            return "[] ".to_owned();
        };
        let folder = path
            .file()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("[{}] {folder}{slash}", path.datastore())
    }

    /// Where its configuration would lie.
    pub(crate) fn configuration(&self) -> String {
        format!("{}{}.vmx", self.home(), self.name)
    }

    /// Begins or ends the tracking of changes. What was tracked before is of no use then.
    pub(crate) fn track_changes(&mut self, enabled: bool) {
        if self.change_tracking == enabled {
            return;
        }
        self.change_tracking = enabled;
        for disk in &mut self.disks {
            disk.changes = ChangeLog::new();
            disk.change_id = None;
        }
    }

    /// Bytes of a disk were written: who tracks changes is told.
    pub(crate) fn changed(&mut self, key: i32, bytes: Range<u64>) {
        let tracked = self.change_tracking;
        if let Some(disk) = self.disk_mut(key).filter(|_| tracked) {
            disk.changes.record(bytes);
        }
    }

    pub(crate) fn disk(&self, key: i32) -> Option<&MachineDisk> {
        self.disks.iter().find(|disk| disk.key == key)
    }

    pub(crate) fn disk_mut(&mut self, key: i32) -> Option<&mut MachineDisk> {
        self.disks.iter_mut().find(|disk| disk.key == key)
    }

    /// The disk that a file belongs to, now or at a snapshot.
    pub(crate) fn disk_of(&self, path: &DatastorePath) -> Option<i32> {
        let present = self.disks.iter().map(|disk| (disk.key, &disk.links));
        let past = self.snapshots.iter().flat_map(|snapshot| &snapshot.disks);
        let past = past.map(|disk| (disk.key, &disk.links));
        present
            .chain(past)
            .find_map(|(key, links)| links.contains(path).then_some(key))
    }

    /// Whether it runs and writes to this file.
    pub(crate) fn writes_to(&self, path: &DatastorePath) -> bool {
        self.power == Power::On
            && self
                .disks
                .iter()
                .any(|disk| disk.links.first() == Some(path))
    }

    /// The ids of the snapshots right after one, or of the first ones.
    pub(crate) fn after<'a>(
        &'a self,
        parent: Option<&'a str>,
    ) -> impl Iterator<Item = &'a MachineSnapshot> {
        self.snapshots
            .iter()
            .filter(move |snapshot| snapshot.parent.as_deref() == parent)
    }
}
