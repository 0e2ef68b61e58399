//! What there is while the simulator runs, and what both ports see of it.
//!
//! ```text
//! World        machines, datastores, tasks                world.rs
//!  ├─ machine      a virtual machine and its snapshots    machine.rs
//!  ├─ changes      which blocks of a disk were written    changes.rs
//!  ├─ snapshot     taking and removing snapshots          snapshot.rs
//!  └─ task         what runs in the background            task.rs
//! Sessions     who is logged in                           sessions.rs
//! Tickets      who may connect to the data port           tickets.rs
//! ```

mod changes;
mod links;
mod machine;
mod sessions;
mod snapshot;
mod task;
mod tickets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use vmdk_engine::ListGate;

pub(crate) use changes::BLOCK;
pub(crate) use machine::{Machine, MachineDisk, MachineSnapshot, SnapshotDisk};
pub(crate) use sessions::{Session, Sessions};
pub(crate) use snapshot::{
    NewSnapshot, SnapshotError, remove as remove_snapshot, take as take_snapshot,
};
pub(crate) use task::Task;
pub(crate) use tickets::{Scope, Ticket, Tickets};

use crate::inventory::{Datacenter, Datastore, DatastorePath, Fcd, Host, Inventory, User};
use crate::profile::Profile;

/// Everything that calls look at and change.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) profile: Profile,
    pub(crate) users: Vec<User>,
    pub(crate) datacenters: Vec<Datacenter>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) datastores: Vec<Datastore>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) fcds: Vec<Fcd>,
    pub(crate) tasks: BTreeMap<String, Task>,
    /// How many tasks there were.
    pub(crate) tasks_made: usize,
    /// Who decides which files disks may have: those of all datastores.
    pub(crate) gate: Arc<ListGate>,
}

impl World {
    /// The inventory as it is at the start.
    pub(crate) fn new(inventory: Inventory) -> Result<Self, vmdk_engine::Error> {
        let gate = inventory
            .datastores
            .iter()
            .fold(ListGate::new(), |gate, datastore| {
                gate.allow_folder(&datastore.folder)
            });
        let mut world = Self {
            profile: inventory.profile,
            users: inventory.users,
            datacenters: inventory.datacenters,
            hosts: inventory.hosts,
            datastores: inventory.datastores,
            machines: Vec::new(),
            fcds: inventory.fcds,
            tasks: BTreeMap::new(),
            tasks_made: 0,
            gate: Arc::new(gate),
        };
        for vm in &inventory.vms {
            let machine = Machine::new(&world, vm)?;
            world.machines.push(machine);
        }
        Ok(world)
    }

    /// The file behind a path; `None` if there is no such datastore.
    pub(crate) fn locate(&self, path: &DatastorePath) -> Option<PathBuf> {
        let datastore = self.datastores.iter();
        let mut named = datastore.filter(|datastore| datastore.name == path.datastore());
        Some(path.below(&named.next()?.folder))
    }

    pub(crate) fn machine(&self, moref: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.moref == moref)
    }

    pub(crate) fn machine_mut(&mut self, moref: &str) -> Option<&mut Machine> {
        self.machines
            .iter_mut()
            .find(|machine| machine.moref == moref)
    }

    pub(crate) fn machine_named(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name)
    }

    /// The machine that has a snapshot, and the snapshot.
    pub(crate) fn snapshot(&self, moref: &str) -> Option<(&Machine, &MachineSnapshot)> {
        self.machines.iter().find_map(|machine| {
            let found = machine.snapshots.iter().find(|known| known.moref == moref);
            found.map(|snapshot| (machine, snapshot))
        })
    }

    pub(crate) fn host(&self, moref: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.moref == moref)
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    pub(crate) fn datastore(&self, moref: &str) -> Option<&Datastore> {
        self.datastores
            .iter()
            .find(|datastore| datastore.moref == moref)
    }

    pub(crate) fn datastore_named(&self, name: &str) -> Option<&Datastore> {
        self.datastores
            .iter()
            .find(|datastore| datastore.name == name)
    }

    /// The first class disk, and the machine that it is attached to.
    pub(crate) fn fcd(&self, id: &str) -> Option<(&Fcd, Option<&Machine>)> {
        let fcd = self
            .fcds
            .iter()
            .find(|fcd| fcd.id.eq_ignore_ascii_case(id))?;
        Some((fcd, self.machine_named(&fcd.consumer)))
    }
}
