//! The disk data base, written: what changes in the file, what stays, and what a crash leaves.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use support::image::{SparseImage, descriptor, put, put_entry};
use support::world::World;
use support::{Numbers, content};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, Error, ErrorKind, GrowOptions, OpenOptions, Sector, SectorCount,
    grow, unwatched,
};

const KINDS: [DiskKind; 2] = [DiskKind::MonolithicSparse, DiskKind::MonolithicFlat];

fn create(world: &World, kind: DiskKind, sectors: u64) -> Disk {
    let options = CreateOptions::new(kind, SectorCount::new(sectors)).gate(world.gate());
    Disk::create("disk.vmdk", &options, &mut unwatched).unwrap()
}

fn open(world: &World) -> Result<Disk, Error> {
    Disk::open("disk.vmdk", &world.options().writable(true))
}

/// The descriptor as it stands in the file.
fn text(world: &World) -> String {
    let bytes = world.bytes("disk.vmdk");
    let bytes = if bytes.starts_with(b"KDMV") {
        let start = u64::from_le_bytes(bytes[28..36].try_into().unwrap());
        bytes[usize::try_from(start).unwrap() * 512..].to_vec()
    } else {
        bytes
    };
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8(bytes[..end.unwrap_or(bytes.len())].to_vec()).unwrap()
}

#[test]
fn values_are_replaced_added_and_found_again() {
    for kind in KINDS {
        let world = World::default();
        let disk = create(&world, kind, 300);
        let before = text(&world);
        disk.set_metadata("ADAPTERTYPE", "ide").unwrap();
        disk.set_metadata("comment", "a b = #1").unwrap();
        disk.set_metadata("comment", "größer").unwrap();
        disk.set_metadata("empty", "").unwrap();
        assert_eq!(
            text(&world),
            before.replace("\"lsilogic\"", "\"ide\"")
                + "ddb.comment = \"größer\"\nddb.empty = \"\"\n"
        );
        assert_eq!(disk.metadata("Comment").as_deref(), Some("größer"));
        // What is written afterwards goes to the right place.
        disk.write_at(Sector::new(7), &[7; 512]).unwrap();
        disk.set_metadata("later", "x").unwrap();
        let cid = text(&world).split_once("CID=").unwrap().1[..8].to_owned();
        assert!(!before.contains(&cid), "{kind:?}: the id is new");
        disk.close().unwrap();
        let disk = open(&world.restarted()).unwrap();
        assert_eq!(disk.metadata("comment").as_deref(), Some("größer"));
        assert_eq!(disk.metadata("later").as_deref(), Some("x"));
        assert!(disk.metadata("longContentID").unwrap().ends_with(&cid));
        assert_eq!(content(&disk)[7 * 512..8 * 512], [7; 512]);
        assert_eq!(world.names().len(), if kind == KINDS[0] { 1 } else { 2 });
    }
}

#[test]
fn a_replaced_descriptor_keeps_its_lock_owner_and_mode() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let options = CreateOptions::new(DiskKind::VmfsThin, SectorCount::new(300));
    let disk = Disk::create(&path, &options, &mut unwatched).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
    let is_root = std::os::unix::fs::chown(&path, Some(12), Some(34)).is_ok();
    disk.set_metadata("comment", "x").unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o604);
    if is_root {
        assert_eq!((metadata.uid(), metadata.gid()), (12, 34));
    }
    let writable = OpenOptions::new().writable(true);
    let error = Disk::open(&path, &writable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyLocked);
    disk.close().unwrap();
    Disk::open(&path, &writable).unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_written_is_refused_and_changes_nothing() {
    use ErrorKind::{InvalidArgument, NoRoom, ReadOnly};
    for kind in KINDS {
        let world = World::default();
        let disk = create(&world, kind, 300);
        let before = world.bytes("disk.vmdk");
        let long = "x".repeat(1 << 20);
        for (key, value, expected) in [
            ("", "x", InvalidArgument),
            ("a b", "x", InvalidArgument),
            ("a", "x\"", InvalidArgument),
            ("a", "x\nddb.b = \"y", InvalidArgument),
            ("logicalSectorSize", "7", InvalidArgument),
            ("iofilters", "vmwarevmcrypt", InvalidArgument),
            ("a", long.as_str(), NoRoom),
        ] {
            let error = disk.set_metadata(key, value).unwrap_err();
            assert_eq!(error.kind(), expected, "{error}");
            assert!(world.bytes("disk.vmdk") == before, "{error}");
        }
        // The disk goes on working.
        disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
        disk.close().unwrap();
        let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
        assert_eq!(disk.set_metadata("a", "b").unwrap_err().kind(), ReadOnly);
    }
}

#[test]
fn an_embedded_text_grows_as_far_as_two_fit() {
    let world = World::default();
    let disk = create(&world, DiskKind::MonolithicSparse, 300);
    let mut value = String::new();
    let error = loop {
        let longer = format!("{value}{}", "v".repeat(97));
        match disk.set_metadata("comment", &longer) {
            Ok(()) => value = longer,
            Err(error) => break error,
        }
        assert_eq!(disk.metadata("comment").as_deref(), Some(value.as_str()));
        assert!(text(&world).ends_with(&format!("ddb.comment = \"{value}\"\n")));
    };
    assert_eq!(error.kind(), ErrorKind::NoRoom, "{error}");
    assert!(value.len() > 4000, "{}", value.len());
    assert_eq!(disk.metadata("comment").as_deref(), Some(value.as_str()));
    disk.set_metadata("comment", "short").unwrap();
    assert!(!text(&world).contains("vv"));
    disk.close().unwrap();
    let disk = open(&world.restarted()).unwrap();
    assert_eq!(disk.metadata("comment").as_deref(), Some("short"));
    let bytes = world.bytes("disk.vmdk");
    assert!(
        bytes[512 + text(&world).len()..21 * 512]
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// The area of a disk that another program made may be as short as its text.
#[test]
fn an_area_of_one_sector_is_enough_for_small_changes() {
    let mut image = SparseImage::monolithic(300);
    image.text = "version=1\nCID=11111111\nparentCID=ffffffff\nRW 300 SPARSE \"x\"\n".to_owned();
    let mut bytes = image.build();
    put(&mut bytes, 36, &1_u64.to_le_bytes());
    let world = World::default().with("disk.vmdk", bytes);
    let disk = open(&world).unwrap();
    disk.set_metadata("comment", "x").unwrap();
    let error = disk.set_metadata("comment", &"x".repeat(500)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoom, "{error}");
    assert!(text(&world).ends_with("ddb.comment = \"x\"\n"));
}

/// Behind every change, with what was not synced lost, torn or there: the old value or the new one, and nothing else
/// is touched. Then it works again.
#[test]
fn a_crash_leaves_the_old_text_or_the_new_one() {
    let flat = descriptor("monolithicFlat", &["RW 300 FLAT \"flat\" 0"]);
    let alone = World::default()
        .with("disk.vmdk", flat)
        .with("flat", vec![5; 300 * 512]);
    let embedded = World::default().with("disk.vmdk", SparseImage::monolithic(300).build());
    for (name, start) in [("alone", alone), ("embedded", embedded)] {
        let (old, new) = ("o".repeat(300), "n".repeat(700));
        let disk = open(&start).unwrap();
        disk.set_metadata("comment", &old).unwrap();
        disk.close().unwrap();
        let world = start.restarted();
        let disk = open(&world).unwrap();
        disk.set_metadata("comment", &new).unwrap();
        disk.close().unwrap();
        assert!(world.len() >= 4);
        let mut numbers = Numbers::new(5);
        let mut seen = [0, 0];
        for events in 0..=world.len() {
            for attempt in 0..10 {
                let after = match attempt {
                    0 => world.killed(events),
                    _ => world.crashed(events, &mut numbers),
                };
                let case = format!("{name}: {events} of {}, {attempt}", world.len());
                let disk = open(&after).unwrap_or_else(|error| panic!("{case}: {error}"));
                let value = disk.metadata("comment").unwrap();
                assert!(value == old || value == new, "{case}: {value}");
                assert!(events < world.len() || value == new, "{case}: durable");
                seen[usize::from(value == new)] += 1;
                let expected = if name == "alone" { 5 } else { 0 };
                assert!(
                    content(&disk).iter().all(|byte| *byte == expected),
                    "{case}"
                );
                disk.set_metadata("comment", "again").unwrap();
                disk.write_at(Sector::ZERO, &[expected; 512]).unwrap();
                disk.close().unwrap();
                let again = text(&after);
                assert!(
                    again.contains("\"again\"") && !again.contains("nn"),
                    "{case}: {again}"
                );
                assert!(
                    !after.names().iter().any(|name| name.contains("draft")),
                    "{case}"
                );
                open(&after.restarted()).unwrap();
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{name}: {seen:?}");
    }
}

#[test]
fn what_fails_leaves_the_old_text() {
    for kind in KINDS {
        let start = World::default();
        create(&start, kind, 300).close().unwrap();
        for events in 0.. {
            let world = start.restarted();
            let disk = open(&world).unwrap();
            world.fail_from(events);
            let value = "x".repeat(600);
            if disk.set_metadata("comment", &value).is_ok() {
                break;
            }
            drop(disk);
            let disk = open(&world.restarted()).unwrap();
            let now = disk.metadata("comment");
            assert!(
                now.is_none() || now.as_deref() == Some(&value),
                "{kind:?} {events}"
            );
        }
    }
}

/// A stream is written from its start to its end, and its descriptor is in it.
#[test]
fn a_stream_that_is_being_written_takes_no_values() {
    let world = World::default();
    let disk = create(&world, DiskKind::StreamOptimized, 256);
    let error = disk.set_metadata("comment", "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    disk.write_at(Sector::ZERO, &[1; 65536]).unwrap();
    disk.close().unwrap();
    let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
    assert_eq!(content(&disk)[..65536], [1; 65536]);
}

/// A disk with a grain table in front of its text, which no program is known to make.
fn table_in_front() -> World {
    let image = SparseImage::monolithic(300);
    let mut bytes = image.build();
    let text = bytes[512..512 * 12].to_vec();
    put(&mut bytes, 512, &vec![0; text.len()]);
    put(&mut bytes, 512 * 8, &text[..512 * 8]);
    put(&mut bytes, 28, &8_u64.to_le_bytes());
    put(&mut bytes, 36, &13_u64.to_le_bytes());
    put_entry(&mut bytes, image.directory(), 0, 2);
    World::default().with("disk.vmdk", bytes)
}

#[test]
fn a_table_in_front_of_the_text_is_not_written_over() {
    let world = table_in_front();
    let disk = open(&world).unwrap();
    disk.write_at(Sector::new(7), &[7; 512]).unwrap();
    disk.flush().unwrap();
    let expected = content(&disk);
    disk.set_metadata("comment", &"x".repeat(600)).unwrap();
    assert!(content(&disk) == expected);
    disk.close().unwrap();
    assert!(content(&open(&world).unwrap()) == expected);
    let options = GrowOptions::new().gate(world.gate());
    grow("disk.vmdk", SectorCount::new(400), &options, &mut unwatched).unwrap();
    let disk = open(&world).unwrap();
    assert!(content(&disk)[..expected.len()] == expected);
    assert_eq!(disk.metadata("comment").map(|text| text.len()), Some(600));
}
