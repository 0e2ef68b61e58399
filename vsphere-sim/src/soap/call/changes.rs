//! What was changed on a disk.

use std::ops::Range;

use vmdk_engine::{Allocation, Disk, OpenOptions, SectorRange};

use super::{Answer, Caller, Outcome};
use crate::inventory::DatastorePath;
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref, Value};
use crate::world::BLOCK;

/// What is asked about a disk.
struct Question<'a> {
    start: u64,
    /// Changes since then; `*` for everything that is allocated.
    since: &'a str,
}

impl<'a> Question<'a> {
    fn parse(arguments: Arguments<'a>) -> Result<Self, Fault> {
        let start = arguments.number::<i64>("startOffset")?;
        Ok(Self {
            start: start
                .try_into()
                .map_err(|_| Fault::invalid_argument("startOffset"))?,
            since: arguments.text("changeId")?,
        })
    }
}

/// A disk at some time.
struct Subject {
    path: DatastorePath,
    capacity: u64,
    /// What was changed since a change id and until that time.
    changed: Result<Vec<Range<u64>>, Fault>,
}

pub(super) fn of_vm(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let question = Question::parse(arguments)?;
    let key: i32 = arguments.number("deviceKey")?;
    let snapshot = arguments.find("snapshot").map(Arguments::as_moref);
    let subject = {
        let world = caller.site.world();
        let machine = world
            .machine(&this.id)
            .ok_or_else(|| Fault::not_found(this))?;
        let disk = machine
            .disk(key)
            .ok_or_else(|| Fault::invalid_argument("deviceKey"))?;
        let (links, until) = match &snapshot {
            None => (&disk.links, None),
            Some(moref) => {
                let mut known = machine.snapshots.iter();
                let snapshot = known.find(|known| known.moref == moref.id);
                let snapshot = snapshot.ok_or_else(|| Fault::not_found(moref))?;
                let disk = snapshot.disks.iter().find(|disk| disk.key == key);
                let disk = disk.ok_or_else(|| Fault::invalid_argument("deviceKey"))?;
                (&disk.links, disk.change_id.as_deref())
            }
        };
        if !machine.change_tracking {
            return Err(Fault::file(
                "FileFault",
                "Change tracking is not enabled.",
                "changeId",
            ));
        }
        let changed = if question.since == "*" {
            Ok(Vec::new())
        } else {
            let changed = disk.changes.changed(question.since, until);
            changed.map_err(|_| Fault::invalid_argument("changeId"))
        };
        Subject {
            path: links
                .first()
                .cloned()
                .ok_or_else(|| Fault::invalid_argument("deviceKey"))?,
            capacity: disk.capacity,
            changed,
        }
    };
    answer(caller, &question, subject)
}

pub(super) fn of_fcd(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let question = Question::parse(arguments)?;
    let subject = {
        let (fcd, snapshot) = caller.fcd_snapshot(this, arguments)?;
        if question.since != "*" {
            // Only what machines write is tracked.
            return Err(Fault::invalid_argument("changeId"));
        }
        let world = caller.site.world();
        let place = world
            .locate(&snapshot)
            .ok_or_else(|| Fault::new("NotFound", "no such file"))?;
        let options = OpenOptions::new()
            .ignore_locks(true)
            .gate(world.gate.clone());
        let disk = Disk::open(place, &options).map_err(|error| unreadable(&snapshot, &error))?;
        tracing::debug!(fcd, "asked for what is allocated");
        Subject {
            path: snapshot,
            capacity: disk.capacity().get() * 512,
            changed: Ok(Vec::new()),
        }
    };
    answer(caller, &question, subject)
}

fn answer(caller: &Caller<'_>, question: &Question<'_>, subject: Subject) -> Outcome {
    if question.start > subject.capacity {
        return Err(Fault::invalid_argument("startOffset"));
    }
    let areas = if question.since == "*" {
        allocated(caller, &subject.path)?
    } else {
        subject.changed?
    };
    let long = |number: u64| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
    let area = |area: Range<u64>| {
        let start = area.start.max(question.start);
        let end = area.end.min(subject.capacity);
        let fields = |start, end| vec![("start", long(start)), ("length", long(end - start))];
        (start < end).then(|| Value::data("DiskChangeExtent", fields(start, end)))
    };
    let areas: Vec<_> = areas.into_iter().filter_map(area).collect();
    Ok(Answer::Value(Value::data(
        "DiskChangeInfo",
        vec![
            ("startOffset", long(question.start)),
            ("length", long(subject.capacity - question.start)),
            ("changedArea", Value::List("DiskChangeExtent", areas)),
        ],
    )))
}

fn unreadable(path: &DatastorePath, error: &vmdk_engine::Error) -> Fault {
    tracing::warn!(%error, "asked for what is allocated");
    Fault::file(
        "FileFault",
        format!("Error while accessing {path}"),
        &path.to_string(),
    )
}

/// What holds data, in whole blocks.
fn allocated(caller: &Caller<'_>, path: &DatastorePath) -> Result<Vec<Range<u64>>, Fault> {
    let (place, gate) = {
        let world = caller.site.world();
        (world.locate(path), world.gate.clone())
    };
    let place = place.ok_or_else(|| Fault::invalid_argument("deviceKey"))?;
    let options = OpenOptions::new().ignore_locks(true).gate(gate);
    let disk = Disk::open(place, &options).map_err(|error| unreadable(path, &error))?;
    let mut areas: Vec<Range<u64>> = Vec::new();
    for extent in disk.extents(SectorRange::whole(disk.capacity())) {
        let extent = extent.map_err(|error| unreadable(path, &error))?;
        if extent.state != Allocation::Data {
            continue;
        }
        let start = extent.range.start().get() * 512 / BLOCK * BLOCK;
        let end = (extent.range.end().get() * 512).next_multiple_of(BLOCK);
        match areas.last_mut() {
            Some(last) if last.end >= start => last.end = end,
            _ => areas.push(start..end),
        }
    }
    Ok(areas)
}
