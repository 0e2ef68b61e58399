//! Tables without entries are passed quickly, and what lies among them is found.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::BTreeSet;

use support::image::{SparseImage, put_entry};
use support::recording::{Failure, Recording};
use support::{Numbers, range};
use vmdk_engine::{Allocation, Disk, SectorRange};

/// Sectors of a grain, and of all grains of one table.
const GRAIN: u64 = 128;
const TABLE: u64 = 512 * GRAIN;

/// What holds data in `asked`, as the disk tells it.
fn data(disk: &Disk, asked: SectorRange) -> Vec<SectorRange> {
    let runs: Vec<_> = disk.extents(asked).map(Result::unwrap).collect();
    let holding = runs.iter().filter(|run| run.state == Allocation::Data);
    holding.map(|run| run.range).collect()
}

/// An image with tables in any order, some of them left out and most without entries, and the grains that it holds.
fn scattered(numbers: &mut Numbers, tables: u64) -> (Vec<u8>, BTreeSet<u64>) {
    let layout = SparseImage::monolithic(tables * TABLE);
    let mut bytes = layout.build();
    let mut places: Vec<u64> = (0..tables).collect();
    for _ in 0..numbers.below(4) {
        let [one, other] = [0; 2].map(|_: u64| usize::try_from(numbers.below(tables)).unwrap());
        places.swap(one, other);
    }
    let mut grains = BTreeSet::new();
    for (table, place) in (0..).zip(&places) {
        let sector = layout.first_table() + 4 * place;
        let entry = match numbers.below(10) {
            0 => 0,
            _ => u32::try_from(sector).unwrap(),
        };
        put_entry(&mut bytes, layout.directory(), table, entry);
        if numbers.below(5) == 0 {
            let index = numbers.below(512);
            let grain = u32::try_from(bytes.len() / 512).unwrap();
            put_entry(&mut bytes, sector, index, grain);
            bytes.resize(bytes.len() + 65536, 1);
            if entry != 0 {
                grains.insert(table * 512 + index);
            }
        }
    }
    (bytes, grains)
}

#[test]
fn what_lies_among_empty_tables_is_found() {
    for seed in 1..200 {
        let mut numbers = Numbers::new(seed);
        let tables = 1 + numbers.below(90);
        let (bytes, grains) = scattered(&mut numbers, tables);
        let recording = Recording::new(bytes);
        let disk = Disk::open("disk.vmdk", &recording.options()).unwrap();
        for _ in 0..4 {
            let start = numbers.below(tables * TABLE);
            let asked = range(start, start + 1 + numbers.below(tables * TABLE - start));
            let mut expected: Vec<SectorRange> = Vec::new();
            for grain in &grains {
                let sectors = range(grain * GRAIN, (grain + 1) * GRAIN);
                let Some(part) = sectors.intersection(asked) else {
                    continue;
                };
                match expected
                    .last_mut()
                    .filter(|last| last.end() == part.start())
                {
                    Some(last) => *last = SectorRange::between(last.start(), part.end()).unwrap(),
                    None => expected.push(part),
                }
            }
            assert_eq!(data(&disk, asked), expected, "seed {seed}, {asked}");
        }
    }
}

#[test]
fn empty_tables_are_read_together() {
    const TABLES: u64 = 512;
    let recording = Recording::new(SparseImage::monolithic(TABLES * TABLE).build());
    let disk = Disk::open("disk.vmdk", &recording.options()).unwrap();
    let before = recording.reads();
    assert_eq!(data(&disk, range(0, TABLES * TABLE)), []);
    let reads = recording.reads() - before;
    assert!(reads < 40, "{reads} reads for {TABLES} tables");
}

#[test]
fn a_table_that_cannot_be_read_is_an_error_of_its_own() {
    const BAD: u64 = 20;
    let layout = SparseImage {
        // Without a copy of what cannot be read.
        flags: 1,
        ..SparseImage::monolithic(40 * TABLE)
    };
    let recording = Recording::new(layout.build());
    let disk = Disk::open("disk.vmdk", &recording.options()).unwrap();
    let bad = (layout.first_table() + 4 * BAD) * 512;
    recording.fail(Failure::Reads(bad..bad + 2048, std::io::ErrorKind::Other));
    let runs: Vec<_> = disk.extents(range(0, 40 * TABLE)).collect();
    let [hole, error] = &runs[..] else {
        panic!("{runs:?}");
    };
    let hole = hole.as_ref().unwrap();
    assert_eq!(
        (hole.range, hole.state),
        (range(0, BAD * TABLE), Allocation::Hole)
    );
    assert!(error.is_err());
}
