//! Disks that become larger: what they hold stays, what is new is zeros, and a crash leaves one size or the other.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use support::image::{SparseImage, descriptor, put, put_entry};
use support::world::World;
use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, Error, ErrorKind, GrowOptions, OpenOptions, Progress, Sector,
    SectorCount, grow, unwatched,
};

const KINDS: [DiskKind; 6] = [
    DiskKind::MonolithicSparse,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
    DiskKind::SplitFlat,
    DiskKind::VmfsFlat,
    DiskKind::VmfsThin,
];

fn grown(path: &str, sectors: u64, world: &World) -> Result<(), Error> {
    let options = GrowOptions::new().gate(world.gate());
    grow(path, SectorCount::new(sectors), &options, &mut unwatched)
}

fn world_with(kind: DiskKind, sectors: u64) -> World {
    let world = World::default();
    let options = CreateOptions::new(kind, SectorCount::new(sectors)).gate(world.gate());
    drop(Disk::create("d.vmdk", &options, &mut unwatched).unwrap());
    world.restarted()
}

fn open(world: &World) -> Disk {
    Disk::open("d.vmdk", &world.options().writable(true)).unwrap()
}

/// Every size with what was written at the one before, in this engine and in qemu-img.
#[test]
fn disks_of_every_kind_grow_step_by_step() {
    let with_qemu = has_qemu();
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("d.vmdk");
        let mut sectors = 100;
        let options = CreateOptions::new(kind, SectorCount::new(sectors));
        let disk = Disk::create(&path, &options, &mut unwatched).unwrap();
        let id = |disk: &Disk| disk.metadata("longContentID").unwrap();
        disk.set_metadata("comment", "kept").unwrap();
        drop(disk);
        let mut model = vec![0; 100 * 512];
        let mut numbers = Numbers::new(1);
        for next in [101, 150, 1000, 5001] {
            let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
            for start in [0, sectors / 2, sectors - 1] {
                let at = usize::try_from(start).unwrap() * 512;
                numbers.fill(&mut model[at..at + 512]);
                disk.write_at(Sector::new(start), &model[at..at + 512])
                    .unwrap();
            }
            let before = id(&disk);
            drop(disk);
            let options = GrowOptions::new().update_geometry(true);
            grow(&path, SectorCount::new(next), &options, &mut unwatched).unwrap();
            sectors = next;
            model.resize(usize::try_from(next).unwrap() * 512, 0);
            let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
            assert_eq!(disk.capacity().get(), next);
            assert_eq!(disk.info().kind, kind);
            assert_eq!(id(&disk), before);
            assert_eq!(disk.metadata("comment").as_deref(), Some("kept"));
            let cylinders = (next / (64 * 32)).max(1).to_string();
            assert_eq!(disk.metadata("geometry.cylinders"), Some(cylinders));
            assert!(content(&disk) == model, "{kind:?} {next}");
            drop(disk);
            if with_qemu {
                let raw = scratch.path().join("raw");
                run(Command::new("qemu-img")
                    .args(["convert", "-f", "vmdk", "-O", "raw"])
                    .args([&path, &raw]));
                assert!(
                    fs::read(&raw).unwrap() == model,
                    "{kind:?} {next}: qemu-img"
                );
                if kind == DiskKind::MonolithicSparse {
                    let check = run(Command::new("qemu-img").arg("check").arg(&path));
                    assert!(check.contains("No errors"), "{check}");
                }
            }
        }
        assert!(!fs::exists(path.with_extension("vmdk.draft")).unwrap());
    }
}

/// The directory of 1 GiB has no room for the tables of 40 GiB.
#[test]
fn a_sparse_directory_moves_where_it_has_no_room() {
    let gib = 2 * 1024 * 1024;
    let world = world_with(DiskKind::MonolithicSparse, gib);
    let mut places = Vec::new();
    let directory = |world: &World| {
        let header: [u8; 8] = world.bytes("d.vmdk")[56..64].try_into().unwrap();
        u64::from_le_bytes(header)
    };
    for (number, size) in (1..).zip([gib + 1, 3 * gib, 4 * gib, 5 * gib, 40 * gib]) {
        let disk = open(&world);
        let last = disk.capacity().get() - 1;
        for start in [0, last / 2, last] {
            disk.write_at(Sector::new(start), &[number; 512]).unwrap();
            places.push((start, number));
        }
        drop(disk);
        let before = directory(&world);
        grown("d.vmdk", size, &world).unwrap();
        let moved = directory(&world) != before;
        assert_eq!(moved, size > 4 * gib, "{size}");
        let disk = open(&world);
        assert_eq!(disk.capacity().get(), size);
        let mut sector = [1; 512];
        for start in last + 1..last + 3 {
            if start < size {
                disk.read_at(Sector::new(start), &mut sector).unwrap();
                assert_eq!(sector, [0; 512]);
            }
        }
        for (start, _) in &places {
            let (_, expected) = places.iter().rfind(|(place, _)| place == start).unwrap();
            disk.read_at(Sector::new(*start), &mut sector).unwrap();
            assert_eq!(sector, [*expected; 512], "{start} after {size}");
        }
    }
    let disk = Disk::open("d.vmdk", &world.options()).unwrap();
    let error = grown("d.vmdk", 1 << 32, &world).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooBig, "{error}");
    drop(disk);
    if has_qemu() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("d.vmdk");
        fs::write(&path, world.bytes("d.vmdk")).unwrap();
        let check = run(Command::new("qemu-img").arg("check").arg(&path));
        assert!(check.contains("No errors"), "{check}");
        for (start, _) in &places {
            let (_, expected) = places.iter().rfind(|(place, _)| place == start).unwrap();
            let read = format!("read -P {expected} {} 512", start * 512);
            let read = run(Command::new("qemu-io")
                .args(["-r", "-f", "vmdk", "-c", &read])
                .arg(&path));
            assert!(!read.contains("failed"), "{read}");
        }
    }
}

#[test]
fn what_stood_behind_the_end_never_shows() {
    // A last grain that is full, and an entry behind it.
    let image = SparseImage::monolithic(100);
    let mut bytes = image.build();
    for table in [image.first_table(), image.redundant_directory() + 1] {
        put_entry(&mut bytes, table, 0, 128);
        put_entry(&mut bytes, table, 1, 256);
    }
    bytes.resize(384 * 512, 0xee);
    let world = World::default().with("d.vmdk", bytes);
    grown("d.vmdk", 500, &world).unwrap();
    let all = content(&open(&world));
    assert!(all[..51_200].iter().all(|byte| *byte == 0xee));
    assert!(all[51_200..].iter().all(|byte| *byte == 0));

    // A file that is longer than its extent.
    for more in [150, 500] {
        let text = descriptor("monolithicFlat", &["RW 100 FLAT \"flat\" 0"]);
        let world = World::default()
            .with("d.vmdk", text)
            .with("flat", vec![0xee; 200 * 512]);
        grown("d.vmdk", more, &world).unwrap();
        let all = content(&open(&world));
        assert!(all[..51_200].iter().all(|byte| *byte == 0xee));
        assert!(all[51_200..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn split_disks_fill_their_last_file_and_get_more() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("d.vmdk");
    let size = 4_192_256 - 10;
    let line = format!("RW {size} FLAT \"d-f001.vmdk\" 0");
    fs::write(&path, descriptor("twoGbMaxExtentFlat", &[&line])).unwrap();
    let file = File::create(scratch.path().join("d-f001.vmdk")).unwrap();
    file.set_len(size * 512).unwrap();
    grow(
        &path,
        SectorCount::new(size + 30),
        &GrowOptions::new(),
        &mut unwatched,
    )
    .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("\nRW 4192256 FLAT \"d-f001.vmdk\" 0\nRW 20 FLAT \"d-f002.vmdk\" 0\n\n"),
        "{text}"
    );
    assert_eq!(file.metadata().unwrap().len(), 4_192_256 * 512);
    let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
    disk.write_at(Sector::new(size), &[7; 30 * 512]).unwrap();

    let world = world_with(DiskKind::SplitSparse, 1000);
    grown("d.vmdk", 3000, &world).unwrap();
    let text = String::from_utf8(world.bytes("d.vmdk")).unwrap();
    assert!(
        text.contains("\nRW 1024 SPARSE \"d-s001.vmdk\"\nRW 1976 SPARSE \"d-s002.vmdk\"\n\n"),
        "{text}"
    );
}

#[test]
fn what_cannot_grow_stays_as_it_is() {
    let check = |world: &World, sectors, kind| {
        let before: Vec<_> = world.names().iter().map(|name| world.bytes(name)).collect();
        let error = grown("d.vmdk", sectors, world).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let after: Vec<_> = world.names().iter().map(|name| world.bytes(name)).collect();
        assert!(before == after, "{error}");
    };
    for kind in KINDS {
        check(&world_with(kind, 100), 100, ErrorKind::InvalidArgument);
        check(&world_with(kind, 100), 99, ErrorKind::InvalidArgument);
    }
    let taken = world_with(DiskKind::SplitSparse, 100).with("d-s002.vmdk", "precious");
    check(&taken, 200, ErrorKind::AlreadyExists);
    let large = world_with(DiskKind::MonolithicSparse, 100);
    check(&large, 1 << 32, ErrorKind::FileTooBig);
    let mixed = descriptor("custom", &["RW 10 ZERO", "RW 10 FLAT \"flat\" 0"]);
    let mixed = World::default()
        .with("d.vmdk", mixed)
        .with("flat", vec![0; 5120]);
    check(&mixed, 100, ErrorKind::Unsupported);
    let stream = world_with(DiskKind::MonolithicSparse, 100);
    let base = Disk::open("d.vmdk", &stream.options()).unwrap();
    base.create_child("child.vmdk", DiskKind::MonolithicSparse, &mut unwatched)
        .unwrap();
    drop(base);
    let error = grown("child.vmdk", 200, &stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HasParent, "{error}");
}

#[test]
fn an_open_disk_does_not_grow() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("d.vmdk");
    let options = CreateOptions::new(DiskKind::SplitFlat, SectorCount::new(100));
    let _disk = Disk::create(&path, &options, &mut unwatched).unwrap();
    let error = grow(
        &path,
        SectorCount::new(200),
        &GrowOptions::new(),
        &mut unwatched,
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyLocked);
}

#[test]
fn cancelled_anywhere_the_disk_is_as_it_was() {
    for kind in KINDS {
        let start = world_with(kind, 100);
        let before: Vec<_> = start.names().iter().map(|name| start.bytes(name)).collect();
        let mut reports = 0;
        for stop_at in 0.. {
            let world = start.restarted();
            let options = GrowOptions::new().gate(world.gate());
            let mut seen = 0;
            let mut watcher = |_: Progress| {
                seen += 1;
                if seen > stop_at {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let result = grow("d.vmdk", SectorCount::new(400), &options, &mut watcher);
            match result {
                Ok(()) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
            }
            assert_eq!(world.names(), start.names());
            let after: Vec<_> = world.names().iter().map(|name| world.bytes(name)).collect();
            assert!(after == before, "{kind:?} {stop_at}");
            reports += 1;
        }
        assert!(reports >= 1, "{kind:?}");
    }
}

/// Behind every change, with what was not synced lost, torn or there: the disk opens with the old size or the new one,
/// and grows when asked again.
#[test]
fn a_crash_leaves_the_old_size_or_the_new_one() {
    for kind in KINDS {
        for (old, new) in [(100, 1000), (8_388_600, 8_388_700)] {
            if old > 1000 && kind != DiskKind::MonolithicSparse {
                continue;
            }
            let start = world_with(kind, old);
            let disk = open(&start);
            disk.write_at(Sector::new(old - 1), &[7; 512]).unwrap();
            drop(disk);
            let world = start.restarted();
            grown("d.vmdk", new, &world).unwrap();
            let mut numbers = Numbers::new(3);
            let mut seen = [0, 0];
            for events in 0..=world.len() {
                let attempts = if old > 1000 { 2 } else { 5 };
                for attempt in 0..attempts {
                    let after = match attempt {
                        0 => world.killed(events),
                        _ => world.crashed(events, &mut numbers),
                    };
                    let case = format!("{kind:?} {old}: {events} of {}, {attempt}", world.len());
                    let check = |size: u64| {
                        let disk = Disk::open("d.vmdk", &after.options().writable(true))
                            .unwrap_or_else(|error| panic!("{case}: {error}"));
                        let mut sectors =
                            vec![
                                1;
                                usize::try_from(disk.capacity().get() - old + 1).unwrap() * 512
                            ];
                        disk.read_at(Sector::new(old - 1), &mut sectors).unwrap();
                        assert_eq!(sectors[..512], [7; 512], "{case}");
                        assert!(sectors[512..].iter().all(|byte| *byte == 0), "{case}");
                        assert!(size == 0 || disk.capacity().get() == size, "{case}");
                        disk.capacity().get()
                    };
                    let size = check(0);
                    assert!(size == old || size == new, "{case}: {size}");
                    seen[usize::from(size == new)] += 1;
                    if size == old {
                        grown("d.vmdk", new, &after)
                            .unwrap_or_else(|error| panic!("{case}: again: {error}"));
                        check(new);
                    }
                    assert!(
                        !after.names().iter().any(|name| name.contains("draft")),
                        "{case}: {:?}",
                        after.names()
                    );
                }
            }
            assert!(seen.iter().all(|count| *count > 0), "{kind:?}: {seen:?}");
        }
    }
}

/// One change fails, or all from one on: the disk has its old size, with nothing beside it, or the new one; and grows
/// when asked again.
#[test]
fn a_failure_anywhere_leaves_a_whole_disk() {
    for kind in KINDS {
        let start = world_with(kind, 100);
        let disk = open(&start);
        disk.write_at(Sector::new(99), &[7; 512]).unwrap();
        disk.close().unwrap();
        let start = start.restarted();
        let world = start.restarted();
        grown("d.vmdk", 1000, &world).unwrap();
        for events in 0..world.len() {
            for once in [true, false] {
                let world = start.restarted();
                if once {
                    world.fail_once_at(events);
                } else {
                    world.fail_from(events);
                }
                let result = grown("d.vmdk", 1000, &world);
                let names = world.names();
                let world = world.restarted();
                let disk = open(&world);
                let case = format!("{kind:?}: {events}, {once}: {result:?} {names:?}");
                assert!([100, 1000].contains(&disk.capacity().get()), "{case}");
                assert!(result.is_err() || disk.capacity().get() == 1000, "{case}");
                if once && disk.capacity().get() == 100 {
                    assert_eq!(names, start.names(), "{case}");
                }
                if disk.capacity().get() == 100 {
                    drop(disk);
                    grown("d.vmdk", 1000, &world).unwrap_or_else(|error| panic!("{case}: {error}"));
                } else {
                    drop(disk);
                }
                let after = content(&open(&world));
                assert_eq!(after.len(), 512_000, "{case}");
                assert!(after[99 * 512..100 * 512] == [7; 512], "{case}");
                assert!(after[100 * 512..].iter().all(|byte| *byte == 0), "{case}");
            }
        }
    }
}

/// Bytes of a disk whose header and descriptor are right, but for one field.
#[test]
fn a_disk_that_contradicts_itself_does_not_grow() {
    let mut bytes = SparseImage::monolithic(100).build();
    put(&mut bytes, 12, &5000_u64.to_le_bytes());
    let world = World::default().with("d.vmdk", bytes);
    let error = grown("d.vmdk", 6000, &world).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDisk, "{error}");
    let none = grow(
        Path::new("none"),
        SectorCount::new(1),
        &GrowOptions::new(),
        &mut unwatched,
    );
    assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound);
}
