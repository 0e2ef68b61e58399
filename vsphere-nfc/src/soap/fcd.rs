//! First class disks, also called improved virtual disks: disks that vCenter knows without a virtual machine.

use roxmltree::Node;

use super::envelope::Call;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, children, required, text};
use super::session::{ApiType, Session};
use crate::error::{Refusal, Result};

/// How a first class disk is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FcdSpec {
    /// Its UUID.
    pub id: String,
    /// The id of the datastore that it lies on, such as `datastore-11`.
    pub datastore: String,
    /// The id of a snapshot of the disk; none for the disk as it is.
    pub snapshot: Option<String>,
}

/// Where a first class disk is, and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fcd {
    /// The datastore path of the disk, or of its snapshot.
    pub path: String,
    /// The virtual machine that it is attached to, if any.
    pub vm: Option<ManagedObject>,
    /// The state of change tracking at the snapshot; none without a snapshot, or while it is off.
    pub change_id: Option<String>,
}

/// A disk as the server describes it.
struct Described {
    path: String,
    consumers: Vec<String>,
}

impl Session {
    pub(crate) fn fcd(&self, spec: &FcdSpec) -> Result<Fcd> {
        let call = self.about("RetrieveVStorageObject", spec)?;
        let Described { path, consumers } = self.call(call, |response| {
            let config = child(response, "returnval")
                .and_then(|object| child(object, "config"))
                .ok_or(ReplyError::Missing("config"))?;
            let backing = child(config, "backing").ok_or(ReplyError::Missing("backing"))?;
            Ok(Described {
                path: required(backing, "filePath")?.to_owned(),
                consumers: children(config, "consumerId").filter_map(id).collect(),
            })
        })?;
        let mut fcd = Fcd {
            path,
            vm: None,
            change_id: None,
        };
        for consumer in &consumers {
            fcd.vm = self.consumer(consumer)?;
            if fcd.vm.is_some() {
                break;
            }
        }
        if let Some(snapshot) = &spec.snapshot {
            let call = self
                .about("RetrieveSnapshotDetails", spec)?
                .open("snapshotId")
                .text("id", snapshot)
                .close("snapshotId");
            (fcd.path, fcd.change_id) = self.call(call, |response| {
                let details =
                    child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
                let change_id = text(details, "changedBlockTrackingId").filter(|id| !id.is_empty());
                let path = required(details, "path")?.to_owned();
                Ok((path, change_id.map(str::to_owned)))
            })?;
        }
        Ok(fcd)
    }

    /// The ids of all snapshots of a disk, oldest first as the server lists them.
    pub(crate) fn fcd_snapshots(&self, spec: &FcdSpec) -> Result<Vec<String>> {
        let call = self.about("RetrieveSnapshotInfo", spec)?;
        Ok(self.call(call, |response| {
            let snapshots = children(response, "returnval");
            let snapshots = snapshots.flat_map(|info| children(info, "snapshots"));
            Ok(snapshots
                .filter_map(|snapshot| child(snapshot, "id"))
                .filter_map(id)
                .collect())
        })?)
    }

    fn about(&self, method: &'static str, spec: &FcdSpec) -> Result<Call> {
        let manager = self.content.storage_manager.as_ref();
        let manager = manager
            .filter(|_| self.content.api_type == ApiType::VirtualCenter)
            .ok_or(Refusal::Unsupported(
                "first class disks are looked up at a vCenter, which this server is not",
            ))?;
        Ok(Call::new(method, manager)
            .open("id")
            .text("id", &spec.id)
            .close("id")
            .object("datastore", &ManagedObject::datastore(&spec.datastore)))
    }

    /// Consumers are named by the UUID that vCenter gave them, or by their own id.
    fn consumer(&self, id: &str) -> Result<Option<ManagedObject>> {
        if id.starts_with("vm-") {
            return Ok(Some(ManagedObject::vm(id)));
        }
        self.find_by_uuid(id, true)
    }
}

/// The text of an element of the type `ID`.
fn id(element: Node<'_, '_>) -> Option<String> {
    text(element, "id")
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
}
