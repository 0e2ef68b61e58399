//! Snapshots of virtual machines, and what has changed since.

use std::time::Duration;

use disk_units::{ByteLen, Sector, SectorRange};
use roxmltree::Node;

use super::client::CallError;
use super::envelope::Call;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, children, number};
use super::session::Session;
use crate::error::Result;

/// How long the server may take to make or remove a snapshot. Removing one copies all that was written since.
const TASK_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What has changed in a part of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedAreas {
    /// The part that the answer is about. It begins where it was asked for, and need not reach the end of the disk.
    pub covered: SectorRange,
    /// The changed areas in it: ascending, apart from each other, none of them empty.
    pub areas: Vec<SectorRange>,
}

/// How a snapshot is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Its name.
    pub name: String,
    /// What users see below the name.
    pub description: String,
    /// Whether the guest is asked to bring its file systems into order first.
    pub quiesce: bool,
}

impl SnapshotOptions {
    /// A snapshot of that name, without description and without asking the guest.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

impl Session {
    /// Makes a snapshot without memory and waits for it.
    pub(crate) fn create_snapshot(
        &self,
        vm: &ManagedObject,
        options: &SnapshotOptions,
    ) -> Result<ManagedObject> {
        let call = Call::new("CreateSnapshot_Task", vm)
            .text("name", &options.name)
            .text("description", &options.description)
            .text("memory", "false")
            .text("quiesce", if options.quiesce { "true" } else { "false" });
        let made = self.carry_out(call, TASK_LIMIT)?;
        made.ok_or_else(|| CallError::from(ReplyError::Missing("result")).into())
    }

    /// Removes a snapshot, keeps its children, and waits.
    pub(crate) fn remove_snapshot(&self, snapshot: &ManagedObject) -> Result<()> {
        let call = Call::new("RemoveSnapshot_Task", snapshot).text("removeChildren", "false");
        self.carry_out(call, TASK_LIMIT).map(|_| ())
    }

    /// Lets the server note what changes. It begins with the next snapshot.
    pub(crate) fn track_changes(&self, vm: &ManagedObject) -> Result<()> {
        let call = Call::new("ReconfigVM_Task", vm)
            .open("spec")
            .text("changeTrackingEnabled", "true")
            .close("spec");
        self.carry_out(call, TASK_LIMIT).map(|_| ())
    }

    /// What has changed between a change id and a snapshot, or now, from `start` on.
    pub(crate) fn changed_areas(
        &self,
        vm: &ManagedObject,
        snapshot: Option<&ManagedObject>,
        key: i32,
        start: ByteLen,
        change_id: &str,
    ) -> Result<ChangedAreas, CallError> {
        let mut call = Call::new("QueryChangedDiskAreas", vm);
        if let Some(snapshot) = snapshot {
            call = call.object("snapshot", snapshot);
        }
        let call = call
            .text("deviceKey", &key.to_string())
            .text("startOffset", &start.get().to_string())
            .text("changeId", change_id);
        self.call(call, |response| areas(response, start.get()))
    }
}

/// Reads areas, given in bytes. Areas that are not whole sectors grow to whole ones.
pub(super) fn areas(response: Node<'_, '_>, asked: u64) -> Result<ChangedAreas, ReplyError> {
    let info = child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
    let start = number::<u64>(info, "startOffset")?;
    let whole = sectors(start, number(info, "length")?).ok_or(ReplyError::Broken("length"))?;
    if start != asked {
        return Err(ReplyError::Broken("startOffset"));
    }
    let mut areas: Vec<SectorRange> = Vec::new();
    for area in children(info, "changedArea") {
        let area = sectors(number(area, "start")?, number(area, "length")?)
            .filter(|area| whole.start() <= area.start() && area.end() <= whole.end())
            .ok_or(ReplyError::Broken("changedArea"))?;
        if area.is_empty() {
            continue;
        }
        match areas.last_mut() {
            Some(last) if area.start() < last.start() => {
                return Err(ReplyError::Broken("changedArea"));
            }
            // Rounding may make neighbours touch.
            Some(last) if area.start() <= last.end() => {
                let end = last.end().max(area.end());
                *last = SectorRange::between(last.start(), end)
                    .ok_or(ReplyError::Broken("changedArea"))?;
            }
            _ => areas.push(area),
        }
    }
    Ok(ChangedAreas {
        covered: whole,
        areas,
    })
}

/// The sectors that these bytes touch.
fn sectors(start: u64, length: u64) -> Option<SectorRange> {
    let end = ByteLen::new(start.checked_add(length)?).sectors_rounded_up();
    let first = start.checked_div(512)?;
    SectorRange::between(Sector::new(first), Sector::new(end.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::reply::parse_document;

    fn read(
        start: u64,
        length: u64,
        changed: &[(u64, u64)],
    ) -> Result<Vec<(u64, u64)>, ReplyError> {
        let changed: String = changed
            .iter()
            .map(|(start, length)| {
                format!(
                    "<changedArea><start>{start}</start><length>{length}</length></changedArea>"
                )
            })
            .collect();
        let document = format!(
            "<r><returnval><startOffset>{start}</startOffset><length>{length}</length>{changed}</returnval></r>"
        );
        parse_document(document.as_bytes(), |root| areas(root, 1024))?.map(|changed| {
            let areas = changed.areas.iter();
            areas
                .map(|area| (area.start().get(), area.count().get()))
                .collect()
        })
    }

    #[test]
    fn areas_become_whole_sectors_apart_from_each_other() {
        for (changed, expected) in [
            (&[][..], &[][..]),
            (&[(1024, 65536), (131_072, 512)], &[(2, 128), (256, 1)]),
            (&[(1025, 1), (1300, 600)], &[(2, 2)]),
            (&[(1024, 512), (1536, 512), (4096, 0)], &[(2, 2)]),
        ] {
            assert_eq!(
                read(1024, 1 << 20, changed).as_deref(),
                Ok(expected),
                "{changed:?}"
            );
        }
    }

    #[test]
    fn areas_elsewhere_are_refused() {
        for (start, length, changed) in [
            (0, 1 << 20, &[][..]),
            (1024, u64::MAX, &[]),
            (1024, 4096, &[(0, 512)]),
            (1024, 4096, &[(1024, 8192)]),
            (1024, 4096, &[(2048, 512), (1024, 512)]),
            (1024, 4096, &[(u64::MAX, 2)]),
        ] {
            assert!(
                read(start, length, changed).is_err(),
                "{start} {length} {changed:?}"
            );
        }
    }
}
