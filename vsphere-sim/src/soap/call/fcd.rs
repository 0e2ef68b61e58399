//! First class disks.

use super::{Answer, Caller, Outcome};
use crate::inventory::{DatastorePath, Fcd};
use crate::soap::request::Arguments;
use crate::time;
use crate::vim::{Fault, Moref, Value};
use crate::world::World;

fn no_disk() -> Fault {
    Fault::new("NotFound", "The virtual storage object is not found.")
}

fn id(id: &str) -> Value {
    Value::data("ID", vec![("id", Value::text(id))])
}

/// The disk that a call is about, on the datastore that it says.
fn find<'a>(world: &'a World, arguments: Arguments<'_>) -> Result<&'a Fcd, Fault> {
    let datastore = arguments.moref("datastore")?;
    let datastore = world
        .datastore(&datastore.id)
        .ok_or_else(|| Fault::not_found(&datastore))?;
    let id = arguments.get("id")?.text("id")?;
    let (fcd, _) = world.fcd(id).ok_or_else(no_disk)?;
    if fcd.path.datastore() == datastore.name {
        Ok(fcd)
    } else {
        Err(no_disk())
    }
}

impl Caller<'_> {
    fn check_storage(&self, this: &Moref) -> Result<(), Fault> {
        let profile = self.site.profile;
        if profile.is_vcenter() && this.id == profile.ids().storage_objects {
            Ok(())
        } else {
            Err(Fault::not_found(this))
        }
    }

    /// The id of a disk, and the file of one of its snapshots.
    pub(super) fn fcd_snapshot(
        &self,
        this: &Moref,
        arguments: Arguments<'_>,
    ) -> Result<(String, DatastorePath), Fault> {
        self.check_storage(this)?;
        let wanted = arguments.get("snapshotId")?.text("id")?;
        let world = self.site.world();
        let fcd = find(&world, arguments)?;
        let mut snapshots = fcd.snapshots.iter();
        let snapshot = snapshots.find(|known| known.id.eq_ignore_ascii_case(wanted));
        let snapshot = snapshot.ok_or_else(no_disk)?;
        Ok((fcd.id.clone(), snapshot.path.clone()))
    }
}

pub(super) fn list(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    caller.check_storage(this)?;
    let wanted = arguments.moref("datastore")?;
    let world = caller.site.world();
    let store = world
        .datastore(&wanted.id)
        .ok_or_else(|| Fault::not_found(&wanted))?;
    let there = world
        .fcds
        .iter()
        .filter(|fcd| fcd.path.datastore() == store.name);
    Ok(Answer::Value(Value::List(
        "ID",
        there.map(|fcd| id(&fcd.id)).collect(),
    )))
}

pub(super) fn retrieve(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    caller.check_storage(this)?;
    let world = caller.site.world();
    let fcd = find(&world, arguments)?;
    let (_, consumer) = world.fcd(&fcd.id).ok_or_else(no_disk)?;
    let capacity = consumer.and_then(|machine| machine.disk(machine.disk_of(&fcd.path)?));
    let capacity = match capacity {
        Some(disk) => disk.capacity,
        None => world.capacity(&fcd.path).unwrap_or_default(),
    };
    let datastore = world
        .datastore_named(fcd.path.datastore())
        .map(|store| store.moref.clone());
    let backing = Value::data(
        "BaseConfigInfoDiskFileBackingInfo",
        vec![
            (
                "datastore",
                Value::moref("Datastore", datastore.unwrap_or_default()),
            ),
            ("filePath", Value::Text(fcd.path.to_string())),
            ("provisioningType", Value::text("thin")),
        ],
    );
    let consumers = consumer
        .into_iter()
        .map(|machine| id(&machine.instance_uuid))
        .collect();
    let config = Value::data(
        "VStorageObjectConfigInfo",
        vec![
            ("id", id(&fcd.id)),
            ("name", Value::text(fcd.name.clone())),
            ("createTime", Value::Time(time::now())),
            ("keepAfterDeleteVm", Value::Bool(true)),
            ("backing", backing),
            ("consumerId", Value::List("ID", consumers)),
            (
                "capacityInMB",
                Value::Long(i64::try_from(capacity >> 20).unwrap_or(i64::MAX)),
            ),
            (
                "consumptionType",
                Value::List("xsd:string", vec![Value::text("disk")]),
            ),
        ],
    );
    Ok(Answer::Value(Value::data(
        "VStorageObject",
        vec![("config", config)],
    )))
}

pub(super) fn snapshot_info(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    caller.check_storage(this)?;
    let world = caller.site.world();
    let fcd = find(&world, arguments)?;
    let snapshots = fcd.snapshots.iter().map(|snapshot| {
        Value::data(
            "VStorageObjectSnapshotInfoVStorageObjectSnapshot",
            vec![
                ("id", id(&snapshot.id)),
                ("createTime", Value::Time(time::now())),
                ("description", Value::text(snapshot.description.clone())),
            ],
        )
    });
    let all = Value::List(
        "VStorageObjectSnapshotInfoVStorageObjectSnapshot",
        snapshots.collect(),
    );
    Ok(Answer::Value(Value::data(
        "VStorageObjectSnapshotInfo",
        vec![("snapshots", all)],
    )))
}

pub(super) fn snapshot_details(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    let (_, path) = caller.fcd_snapshot(this, arguments)?;
    let fields = vec![("path", Value::Text(path.to_string()))];
    Ok(Answer::Value(Value::data(
        "VStorageObjectSnapshotDetails",
        fields,
    )))
}
