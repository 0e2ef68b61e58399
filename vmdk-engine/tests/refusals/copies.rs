//! Damage that the redundant grain directory makes good: the disk reads as before, and must be repaired before it is
//! written.

use std::io;
use std::ops::Range;

use super::support::content;
use super::support::image::{put, put_entry};
use super::support::recording::{Failure, Recording};
use super::*;
use vmdk_engine::{Allocation, SectorRange};

/// Damages of the primary metadata of [`good`], one or several at a time.
fn damages() -> Vec<(&'static str, Vec<Patch>)> {
    let entry =
        |sector: usize, index: usize, value: u32| u32_at(sector * SECTOR + index * 4, value);
    vec![
        ("no directory", vec![u64_at(56, 0)]),
        ("directory behind the end", vec![u64_at(56, 1 << 20)]),
        ("directory across the end", vec![u64_at(56, 768)]),
        ("directory overflows", vec![u64_at(56, 1 << 60)]),
        ("table behind the end", vec![entry(26, 0, 1 << 20)]),
        ("table across the end", vec![entry(26, 0, 382)]),
        ("table at 2^32 - 1", vec![entry(26, 0, u32::MAX)]),
        ("table in the text", vec![entry(26, 0, 5)]),
        ("table in the header", vec![entry(26, 0, 1 << 31 | 1)]),
        ("table in the directory", vec![entry(26, 0, 26)]),
        ("table in the copy of the directory", vec![entry(26, 0, 21)]),
        ("grain behind the end", vec![entry(27, 0, 1 << 20)]),
        ("grain at 2^32 - 1", vec![entry(27, 5, u32::MAX)]),
        ("grain in the text", vec![entry(27, 5, 2)]),
        (
            "both grains in the tables",
            vec![entry(27, 0, 22), entry(27, 5, 27)],
        ),
    ]
}

#[test]
fn damage_is_read_through() {
    let good = good();
    let gate = MemoryGate::default().with("disk.vmdk", good.clone());
    let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
    let (before, map) = (content(&disk), states(&disk));
    for (name, patches) in damages() {
        let mut image = good.clone();
        for (position, bytes) in patches {
            put(&mut image, position, &bytes);
        }
        check(name, &image, Fine, REPAIR);
        let gate = MemoryGate::default().with("disk.vmdk", image);
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        assert!(content(&disk) == before, "{name}");
        assert_eq!(states(&disk), map, "{name}");
    }
}

fn states(disk: &Disk) -> Vec<(SectorRange, Allocation)> {
    disk.extents(SectorRange::whole(disk.capacity()))
        .map(|extent| extent.unwrap())
        .map(|extent| (extent.range, extent.state))
        .collect()
}

/// A copy that is damaged in the same place, or says that there is nothing, makes nothing good.
#[test]
fn a_damaged_copy_makes_nothing_good() {
    let good = good();
    for (name, entries) in [
        ("no table in the copy", [(26, 0, 1 << 20), (21, 0, 0)]),
        (
            "the copy's table in the text",
            [(26, 0, 1 << 20), (21, 0, 5)],
        ),
        ("no grain in the copy", [(27, 5, 2), (22, 5, 0)]),
        ("zeros in the copy", [(27, 5, 2), (22, 5, 1)]),
        (
            "the copy's grain behind the end",
            [(27, 5, 2), (22, 5, 1 << 20)],
        ),
        (
            "the copy's grain in the text",
            [(27, 5, 1 << 20), (22, 5, 3)],
        ),
    ] {
        let mut image = good.clone();
        for (sector, index, value) in entries {
            put_entry(&mut image, sector, index, value);
        }
        check(name, &image, DAMAGED, REPAIR);
    }
    // The copy does not count where the header does not claim it.
    let mut image = good.clone();
    put(&mut image, 8, &1_u32.to_le_bytes());
    put_entry(&mut image, 26, 0, 1 << 20);
    check("no copy claimed", &image, DAMAGED, REPAIR);
}

/// Sectors of the medium that cannot be read.
#[test]
fn unreadable_metadata_is_read_through() {
    let good = good();
    let gate = MemoryGate::default().with("disk.vmdk", good.clone());
    let before = content(&Disk::open("disk.vmdk", &gate.options()).unwrap());
    let sectors = |range: Range<u64>| range.start * 512..range.end * 512;
    for (name, bad, writable) in [
        ("directory", 26..27, NeedsRepair),
        ("table", 27..31, ErrorKind::Io),
        ("one sector of the table", 27..28, ErrorKind::Io),
    ] {
        let file = Recording::new(good.clone());
        file.fail(Failure::Reads(sectors(bad), io::ErrorKind::Other));
        let disk = Disk::open("disk.vmdk", &file.options()).unwrap();
        assert!(content(&disk) == before, "{name}");
        let error = Disk::open("disk.vmdk", &file.options().writable(true)).unwrap_err();
        assert_eq!(error.kind(), writable, "{name}: {error}");
    }
    let file = Recording::new(good);
    file.fail(Failure::Reads(sectors(21..27), io::ErrorKind::Other));
    // Pieces of directories are read when they are needed.
    let disk = Disk::open("disk.vmdk", &file.options()).unwrap();
    let error = disk.read_at(Sector::ZERO, &mut [0; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "both directories: {error}");
    let error = Disk::open("disk.vmdk", &file.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "both directories: {error}");
}

/// A directory that has outgrown its place lies behind grains; no grain may reach into it.
#[test]
fn a_directory_among_the_grains() {
    let good = good();
    let end = u64::try_from(good.len() / SECTOR).unwrap();
    let mut moved = good.clone();
    moved.extend(&good[26 * SECTOR..27 * SECTOR]);
    moved.resize(good.len() + 128 * SECTOR, 0);
    put(&mut moved, 56, &end.to_le_bytes());
    check("a directory among the grains", &moved, Fine, Fine);
    let gate = MemoryGate::default()
        .with("disk.vmdk", moved.clone())
        .with("good", good);
    let read = |name: &str| content(&Disk::open(name, &gate.options()).unwrap());
    assert!(read("disk.vmdk") == read("good"));

    for table in [22, 27] {
        put_entry(&mut moved, table, 7, u32::try_from(end).unwrap() - 64);
    }
    check("a grain over the directory", &moved, DAMAGED, REPAIR);
}
