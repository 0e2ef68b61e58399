//! Virtual machines: where to find them, and which disks they have.

use std::fmt;
use std::iter;

use disk_units::ByteLen;
use roxmltree::Node;

use super::client::CallError;
use super::envelope::Call;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, number, object, reference, schema_type, text};
use super::session::Session;
use crate::error::{Cause, ErrorKind, Refusal, Result};

/// How a virtual machine is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VmSpec {
    /// The id that the server gave it: `vm-42` at a vCenter, a number on an ESXi host.
    Moref(String),
    /// The UUID of its BIOS.
    Uuid(String),
    /// The UUID that vCenter gave it, which no two of its virtual machines share.
    InstanceUuid(String),
    /// Where it is in the inventory: `Datacenter/vm/Folder/Name`.
    InventoryPath(String),
    /// Where its configuration lies: `[datastore] folder/name.vmx`, in the datacenter at this path of the inventory.
    DatastorePath {
        /// The datacenter. `ha-datacenter` on an ESXi host.
        datacenter: String,
        /// The path of the `.vmx` file.
        path: String,
    },
}

impl fmt::Display for VmSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moref(name)
            | Self::Uuid(name)
            | Self::InstanceUuid(name)
            | Self::InventoryPath(name)
            | Self::DatastorePath { path: name, .. } => formatter.write_str(name),
        }
    }
}

/// A disk of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmDisk {
    /// The number of the device, which the disk keeps over all its snapshots. The first disk has 2000.
    pub key: i32,
    /// What users see, such as `Hard disk 1`; empty when the server did not say.
    pub label: String,
    /// The size in bytes.
    pub capacity: ByteLen,
    /// Its files as datastore paths: first the one that is written now, then the parents of each.
    pub files: Vec<String>,
    /// The state of change tracking when this was asked, for
    /// [`Host::changed_areas`](crate::Host::changed_areas); none while it is off.
    pub change_id: Option<String>,
}

/// No virtual machine or no disk has that name.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("no virtual machine has this name")]
    Vm,
    #[error("no datacenter has the path {0}")]
    Datacenter(String),
    #[error("the server does not say which host runs the virtual machine")]
    Host,
    #[error("the virtual machine has no disk with the path {0}")]
    Disk(String),
}

impl Cause for NotFound {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Vm => ErrorKind::VmNotFound,
            Self::Datacenter(_) | Self::Host => ErrorKind::ObjectNotFound,
            Self::Disk(_) => ErrorKind::FileNotFound,
        }
    }
}

impl Session {
    /// The virtual machine. An id is taken as it is; the server is asked about all other names.
    pub(crate) fn find_vm(&self, spec: &VmSpec) -> Result<ManagedObject> {
        let found = match spec {
            VmSpec::Moref(id) => Some(ManagedObject::vm(id)),
            VmSpec::Uuid(uuid) => self.find_by_uuid(uuid, false)?,
            VmSpec::InstanceUuid(uuid) => self.find_by_uuid(uuid, true)?,
            VmSpec::InventoryPath(path) => self.find_by_inventory_path(path)?,
            VmSpec::DatastorePath { datacenter, path } => {
                let datacenter = self
                    .find_by_inventory_path(datacenter)?
                    .ok_or_else(|| NotFound::Datacenter(datacenter.clone()))?;
                let call = Call::new("FindByDatastorePath", self.search_index()?)
                    .object("datacenter", &datacenter)
                    .text("path", path);
                self.call(call, |response| Ok(object(response, "returnval")))?
            }
        };
        found
            .filter(|object| object.kind() == "VirtualMachine")
            .ok_or_else(|| NotFound::Vm.into())
    }

    pub(super) fn find_by_uuid(&self, uuid: &str, instance: bool) -> Result<Option<ManagedObject>> {
        let call = Call::new("FindByUuid", self.search_index()?)
            .text("uuid", uuid)
            .text("vmSearch", "true")
            .text("instanceUuid", if instance { "true" } else { "false" });
        Ok(self.call(call, |response| Ok(object(response, "returnval")))?)
    }

    fn find_by_inventory_path(&self, path: &str) -> Result<Option<ManagedObject>> {
        let call =
            Call::new("FindByInventoryPath", self.search_index()?).text("inventoryPath", path);
        Ok(self.call(call, |response| Ok(object(response, "returnval")))?)
    }

    fn search_index(&self) -> Result<&ManagedObject> {
        let index = self.content.search_index.as_ref();
        index.ok_or_else(|| Refusal::Unsupported("the server has no search index").into())
    }

    /// The disks of a virtual machine as it is, or of a snapshot as it was made.
    pub(crate) fn disks(&self, owner: &ManagedObject) -> Result<Vec<VmDisk>, CallError> {
        let mut found = Vec::new();
        self.properties(owner, &["config.hardware.device"], |_, devices| {
            found = disks(devices)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// The disk of a virtual machine whose chain of files has this path in it, and the host that runs the virtual
    /// machine.
    pub(crate) fn disk_and_host(
        &self,
        vm: &ManagedObject,
        path: &str,
    ) -> Result<(VmDisk, Option<ManagedObject>)> {
        let mut found = Vec::new();
        let mut host = None;
        let paths = ["runtime.host", "config.hardware.device"];
        self.properties(vm, &paths, |path, value| {
            if path == "runtime.host" {
                host = reference(value);
            } else {
                found = disks(value)?;
            }
            Ok(())
        })?;
        let disk = found
            .into_iter()
            .find(|disk| disk.files.iter().any(|file| file == path))
            .ok_or_else(|| NotFound::Disk(path.to_owned()))?;
        Ok((disk, host))
    }
}

impl Session {
    /// The host that runs a virtual machine.
    pub(crate) fn host_of(&self, vm: &ManagedObject) -> Result<ManagedObject> {
        let mut host = None;
        self.properties(vm, &["runtime.host"], |_, value| {
            host = reference(value);
            Ok(())
        })?;
        host.ok_or_else(|| NotFound::Host.into())
    }
}

/// The disks among the devices of a virtual machine.
pub(super) fn disks(devices: Node<'_, '_>) -> Result<Vec<VmDisk>, ReplyError> {
    let devices = devices.children().filter(Node::is_element);
    devices
        .filter(|device| schema_type(*device) == Some("VirtualDisk"))
        .map(disk)
        .collect()
}

fn disk(device: Node<'_, '_>) -> Result<VmDisk, ReplyError> {
    let backing = child(device, "backing");
    let files = iter::successors(backing, |backing| child(*backing, "parent"))
        .filter_map(|backing| text(backing, "fileName"))
        .map(str::to_owned)
        .collect();
    let capacity = match text(device, "capacityInBytes") {
        Some(_) => number(device, "capacityInBytes")?,
        // Releases before 5.5.
        None => number::<u64>(device, "capacityInKB")?
            .checked_mul(1024)
            .ok_or(ReplyError::Broken("capacityInKB"))?,
    };
    let change_id = backing
        .and_then(|backing| text(backing, "changeId"))
        .filter(|id| !id.is_empty());
    Ok(VmDisk {
        key: number(device, "key")?,
        label: child(device, "deviceInfo")
            .and_then(|info| text(info, "label"))
            .unwrap_or_default()
            .to_owned(),
        capacity: ByteLen::new(capacity),
        files,
        change_id: change_id.map(str::to_owned),
    })
}
