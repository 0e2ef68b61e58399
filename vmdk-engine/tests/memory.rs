//! What is kept in memory stays bounded, however many tables and extents a disk has.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;

use support::image::{SparseImage, descriptor, entry};
use support::range;
use vmdk_engine::{Disk, OpenOptions, Sector};

/// The guest sectors of one grain table.
const TABLE: u64 = 512 * 128;

/// A split disk of `extents` files that hold `tables` grain tables each, none of them in the file yet.
fn create(folder: &Path, extents: u64, tables: u64) -> Disk {
    let image = SparseImage {
        preallocated: false,
        ..SparseImage::extent(tables * TABLE)
    };
    let mut lines = Vec::new();
    for number in 0..extents {
        fs::write(folder.join(format!("s{number}")), image.build()).unwrap();
        lines.push(format!("RW {} SPARSE \"s{number}\"", image.capacity));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let path = folder.join("disk.vmdk");
    fs::write(&path, descriptor("twoGbMaxExtentSparse", &lines)).unwrap();
    Disk::open(path, &OpenOptions::new().writable(true)).unwrap()
}

/// The grain directory of an extent as it is in its file.
fn directory(folder: &Path, name: &str, tables: u64) -> (Vec<u8>, Vec<u32>) {
    let bytes = fs::read(folder.join(name)).unwrap();
    let start = SparseImage::extent(tables * TABLE).directory();
    let entries = (0..tables).map(|table| entry(&bytes, start, table));
    let entries = entries.collect();
    (bytes, entries)
}

/// One sector in each table of a disk: more tables than may be changed in memory, but few in any one file.
#[test]
fn changed_tables_are_bounded_over_all_extents() {
    let scratch = tempfile::tempdir().unwrap();
    let (extents, tables) = (70, 30);
    let disk = create(scratch.path(), extents, tables);
    for table in 0..extents * tables {
        disk.write_at(Sector::new(table * TABLE), &[1; 512])
            .unwrap();
    }
    let (_, entries) = directory(scratch.path(), "s0", tables);
    assert!(entries.iter().all(|entry| *entry != 0), "written back");
    disk.close().unwrap();
}

/// One request that frees a grain in each of more tables than may be changed in memory.
#[test]
fn a_trim_of_any_length_is_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    let tables = 2200;
    let disk = create(scratch.path(), 1, tables);
    for table in 0..tables {
        disk.write_at(Sector::new(table * TABLE), &[1; 512])
            .unwrap();
    }
    disk.flush().unwrap();
    let used = |bytes: &[u8], entries: &[u32]| {
        let first = |start: &u32| entry(bytes, u64::from(*start), 0) != 0;
        entries.iter().filter(|start| first(start)).count()
    };
    let (bytes, entries) = directory(scratch.path(), "s0", tables);
    assert_eq!(used(&bytes, &entries), 2200);
    disk.trim(range(0, tables * TABLE)).unwrap();
    let (bytes, entries) = directory(scratch.path(), "s0", tables);
    let left = used(&bytes, &entries);
    assert!(
        left < 2200 - 2000,
        "{left} tables are changed in memory only"
    );
    disk.close().unwrap();
}
