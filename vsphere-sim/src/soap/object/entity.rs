//! Folders, datacenters, hosts and datastores.
//!
//! ```text
//! root folder
//!  └─ datacenter
//!      ├─ folder of machines       all its machines
//!      ├─ folder of hosts          a compute resource for each host
//!      │   └─ compute resource         the host, and a resource pool
//!      ├─ folder of datastores
//!      └─ folder of networks       empty
//! ```

use crate::profile::Profile;
use crate::vim::{Moref, Value, optional};
use crate::world::World;

/// The types that are entities.
pub(super) const KINDS: [&str; 8] = [
    "Folder",
    "Datacenter",
    "ComputeResource",
    "HostSystem",
    "ResourcePool",
    "VirtualMachine",
    "Datastore",
    "Network",
];

/// What a folder of a datacenter holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Machines,
    Hosts,
    Datastores,
    Networks,
}

const FOLDERS: [Holds; 4] = [
    Holds::Machines,
    Holds::Hosts,
    Holds::Datastores,
    Holds::Networks,
];

impl Holds {
    fn name(self) -> &'static str {
        match self {
            Self::Machines => "vm",
            Self::Hosts => "host",
            Self::Datastores => "datastore",
            Self::Networks => "network",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Machines => 'v',
            Self::Hosts => 'h',
            Self::Datastores => 's',
            Self::Networks => 'n',
        }
    }
}

/// The id of a folder of a datacenter, by the datacenter's position.
fn folder_id(profile: Profile, datacenter: usize, holds: Holds) -> String {
    if profile.is_vcenter() {
        format!("group-{}{}", holds.letter(), 3 + 10 * datacenter)
    } else {
        format!("ha-folder-{}", holds.name())
    }
}

fn compute_id(profile: Profile, host: usize) -> String {
    if profile.is_vcenter() {
        format!("domain-c{}", 7 + host)
    } else {
        "ha-compute-res".to_owned()
    }
}

fn pool_id(profile: Profile, host: usize) -> String {
    if profile.is_vcenter() {
        format!("resgroup-{}", 8 + host)
    } else {
        "ha-root-pool".to_owned()
    }
}

fn datacenter_named(world: &World, name: &str) -> usize {
    world
        .datacenters
        .iter()
        .position(|known| known.name == name)
        .unwrap_or(0)
}

/// The folder that a machine is in, by its host's id.
pub(super) fn machine_folder(world: &World, host: &str) -> String {
    let datacenter = world
        .host(host)
        .map(|host| datacenter_named(world, &host.datacenter));
    folder_id(world.profile, datacenter.unwrap_or(0), Holds::Machines)
}

/// The resource pool of a host.
pub(super) fn pool_of(world: &World, host: &str) -> String {
    let position = world.hosts.iter().position(|known| known.moref == host);
    pool_id(world.profile, position.unwrap_or(0))
}

/// What every entity has.
fn common(name: &str, parent: Option<Moref>) -> Vec<(&'static str, Value)> {
    let mut fields = optional("parent", parent.map(Value::Moref));
    fields.push(("name", Value::text(name)));
    fields.push(("overallStatus", Value::Enum("ManagedEntityStatus", "green")));
    fields
}

pub(super) fn properties(world: &World, object: &Moref) -> Option<Value> {
    let id = object.id.as_str();
    match object.kind.as_str() {
        "Folder" => folder(world, id),
        "Datacenter" => datacenter(world, id),
        "ComputeResource" => compute(world, id),
        "ResourcePool" => pool(world, id),
        "HostSystem" => host(world, id),
        "Datastore" => datastore(world, id),
        _ => None,
    }
}

fn folder(world: &World, id: &str) -> Option<Value> {
    let root = world.profile.ids().root_folder;
    if id == root {
        let name = if world.profile.is_vcenter() {
            "Datacenters"
        } else {
            "ha-folder-root"
        };
        let mut fields = common(name, None);
        let inside = world
            .datacenters
            .iter()
            .map(|datacenter| datacenter.moref.clone());
        fields.push(("childEntity", Value::morefs("Datacenter", inside)));
        return Some(Value::data("Folder", fields));
    }
    let (position, holds) = (0..world.datacenters.len()).find_map(|position| {
        let mut all = FOLDERS.into_iter();
        let holds = all.find(|holds| folder_id(world.profile, position, *holds) == id)?;
        Some((position, holds))
    })?;
    let datacenter = world.datacenters.get(position)?;
    let parent = Moref::new("Datacenter", datacenter.moref.clone());
    let mut fields = common(holds.name(), Some(parent));
    let inside = match holds {
        Holds::Machines => {
            let machines = world.machines.iter();
            let inside = machines.filter(|machine| machine_folder(world, &machine.host) == id);
            Value::morefs(
                "VirtualMachine",
                inside.map(|machine| machine.moref.clone()),
            )
        }
        Holds::Hosts => {
            let hosts = world.hosts.iter().enumerate();
            let inside = hosts.filter(|(_, host)| host.datacenter == datacenter.name);
            let inside = inside.map(|(position, _)| compute_id(world.profile, position));
            Value::morefs("ComputeResource", inside)
        }
        Holds::Datastores => Value::morefs("Datastore", datastores(world, &datacenter.name)),
        Holds::Networks => Value::morefs("Network", Vec::<String>::new()),
    };
    fields.push(("childEntity", inside));
    Some(Value::data("Folder", fields))
}

fn datastores(world: &World, datacenter: &str) -> Vec<String> {
    let inside = world
        .datastores
        .iter()
        .filter(|store| store.datacenter == datacenter);
    inside.map(|store| store.moref.clone()).collect()
}

fn datacenter(world: &World, id: &str) -> Option<Value> {
    let position = world
        .datacenters
        .iter()
        .position(|known| known.moref == id)?;
    let datacenter = world.datacenters.get(position)?;
    let root = Moref::new("Folder", world.profile.ids().root_folder);
    let mut fields = common(&datacenter.name, Some(root));
    let folder = |holds| Value::moref("Folder", folder_id(world.profile, position, holds));
    fields.extend([
        ("vmFolder", folder(Holds::Machines)),
        ("hostFolder", folder(Holds::Hosts)),
        ("datastoreFolder", folder(Holds::Datastores)),
        ("networkFolder", folder(Holds::Networks)),
        (
            "datastore",
            Value::morefs("Datastore", datastores(world, &datacenter.name)),
        ),
        ("network", Value::morefs("Network", Vec::<String>::new())),
    ]);
    Some(Value::data("Datacenter", fields))
}

fn host_at(world: &World, id: &str, of: fn(Profile, usize) -> String) -> Option<usize> {
    (0..world.hosts.len()).find(|position| of(world.profile, *position) == id)
}

fn compute(world: &World, id: &str) -> Option<Value> {
    let position = host_at(world, id, compute_id)?;
    let host = world.hosts.get(position)?;
    let folder = folder_id(
        world.profile,
        datacenter_named(world, &host.datacenter),
        Holds::Hosts,
    );
    let mut fields = common(&host.name, Some(Moref::new("Folder", folder)));
    fields.extend([
        (
            "resourcePool",
            Value::moref("ResourcePool", pool_id(world.profile, position)),
        ),
        ("host", Value::morefs("HostSystem", [host.moref.clone()])),
        (
            "datastore",
            Value::morefs("Datastore", datastores(world, &host.datacenter)),
        ),
    ]);
    Some(Value::data("ComputeResource", fields))
}

fn pool(world: &World, id: &str) -> Option<Value> {
    let position = host_at(world, id, pool_id)?;
    let host = world.hosts.get(position)?;
    let owner = Moref::new("ComputeResource", compute_id(world.profile, position));
    let mut fields = common("Resources", Some(owner.clone()));
    fields.extend([
        ("owner", Value::Moref(owner)),
        ("vm", machines_on(world, &host.moref)),
    ]);
    Some(Value::data("ResourcePool", fields))
}

fn machines_on(world: &World, host: &str) -> Value {
    let inside = world.machines.iter().filter(|machine| machine.host == host);
    Value::morefs(
        "VirtualMachine",
        inside.map(|machine| machine.moref.clone()),
    )
}

fn host(world: &World, id: &str) -> Option<Value> {
    let position = world.hosts.iter().position(|known| known.moref == id)?;
    let host = world.hosts.get(position)?;
    let parent = Moref::new("ComputeResource", compute_id(world.profile, position));
    let mut fields = common(&host.name, Some(parent));
    let runtime = Value::data(
        "HostRuntimeInfo",
        vec![
            (
                "connectionState",
                Value::Enum("HostSystemConnectionState", "connected"),
            ),
            (
                "powerState",
                Value::Enum("HostSystemPowerState", "poweredOn"),
            ),
            ("inMaintenanceMode", Value::Bool(false)),
        ],
    );
    fields.extend([
        ("runtime", runtime),
        ("vm", machines_on(world, id)),
        (
            "datastore",
            Value::morefs("Datastore", datastores(world, &host.datacenter)),
        ),
    ]);
    Some(Value::data("HostSystem", fields))
}

fn datastore(world: &World, id: &str) -> Option<Value> {
    let store = world.datastore(id)?;
    let position = datacenter_named(world, &store.datacenter);
    let folder = folder_id(world.profile, position, Holds::Datastores);
    let mut fields = common(&store.name, Some(Moref::new("Folder", folder)));
    let url = format!("ds:///vmfs/volumes/{}/", store.name);
    let summary = Value::data(
        "DatastoreSummary",
        vec![
            ("datastore", Value::moref("Datastore", id)),
            ("name", Value::text(store.name.clone())),
            ("url", Value::text(url)),
            ("capacity", Value::Long(1 << 40)),
            ("freeSpace", Value::Long(1 << 39)),
            ("accessible", Value::Bool(true)),
            ("type", Value::text("VMFS")),
        ],
    );
    fields.push(("summary", summary));
    Some(Value::data("Datastore", fields))
}

/// All entities but the root folder.
fn all(world: &World) -> Vec<Moref> {
    let profile = world.profile;
    let mut all = Vec::new();
    for (position, datacenter) in world.datacenters.iter().enumerate() {
        all.push(Moref::new("Datacenter", datacenter.moref.clone()));
        let folders =
            FOLDERS.map(|holds| Moref::new("Folder", folder_id(profile, position, holds)));
        all.extend(folders);
    }
    for (position, host) in world.hosts.iter().enumerate() {
        all.push(Moref::new("ComputeResource", compute_id(profile, position)));
        all.push(Moref::new("ResourcePool", pool_id(profile, position)));
        all.push(Moref::new("HostSystem", host.moref.clone()));
    }
    all.extend(
        world
            .datastores
            .iter()
            .map(|store| Moref::new("Datastore", store.moref.clone())),
    );
    all.extend(
        world
            .machines
            .iter()
            .map(|vm| Moref::new("VirtualMachine", vm.moref.clone())),
    );
    all
}

fn parent(world: &World, entity: &Moref) -> Option<Moref> {
    if entity.kind == "VirtualMachine" {
        let machine = world.machine(&entity.id)?;
        return Some(Moref::new("Folder", machine_folder(world, &machine.host)));
    }
    properties(world, entity)?
        .at("parent")?
        .references()
        .first()
        .map(|moref| (*moref).clone())
}

/// The entities in another one, or only those directly in it.
pub(super) fn inside(world: &World, container: &Moref, recursive: bool) -> Vec<Moref> {
    let is_inside = |entity: &Moref| {
        let mut above = parent(world, entity);
        while let Some(outer) = above {
            if outer == *container {
                return true;
            }
            if !recursive {
                return false;
            }
            above = parent(world, &outer);
        }
        false
    };
    all(world).into_iter().filter(is_inside).collect()
}
