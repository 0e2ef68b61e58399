//! Stopped at any moment, with any part of the unsynced writes lost, a disk opens again and has all that was flushed.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::io;

use support::esx::CowdImage;
use support::image::{MemoryGate, SparseImage, child_of, descriptor};
use support::recording::{Change, Failure, Recording, crash};
use support::{Numbers, content, range};
use vmdk_engine::{Disk, Error, ErrorKind, Sector, ZeroMode};

/// What is crashed: a file of a disk, among the others that the disk needs.
struct Subject {
    /// The disk without the file.
    others: MemoryGate,
    name: &'static str,
    before: Vec<u8>,
    capacity: u64,
    /// What every sector is filled with.
    content: u8,
    /// Where the dirty byte stands in the file.
    dirty_byte: usize,
}

impl Subject {
    fn alone(image: &SparseImage) -> Self {
        Self {
            others: MemoryGate::default(),
            name: "disk.vmdk",
            before: image.build(),
            capacity: image.capacity,
            content: 0,
            dirty_byte: 72,
        }
    }

    /// The same over a parent full of data.
    fn child(image: &SparseImage) -> Self {
        let text = child_of(&image.text, 2, 0x1f2e_3d4c, "base.vmdk");
        let image = SparseImage {
            text,
            ..image.clone()
        };
        Self {
            others: over_data(image.capacity),
            content: 0x77,
            ..Self::alone(&image)
        }
    }

    /// A copy-on-write extent of ESX over a parent full of data.
    fn cowd(capacity: u32, grain: u32) -> Self {
        let line = format!("RW {capacity} VMFSSPARSE \"delta\"");
        let text = child_of(
            &descriptor("vmfsSparse", &[&line]),
            2,
            0x1f2e_3d4c,
            "base.vmdk",
        );
        Self {
            others: over_data(capacity.into()).with("disk.vmdk", text),
            name: "delta",
            before: CowdImage::new(capacity, grain).build(),
            capacity: capacity.into(),
            content: 0x77,
            dirty_byte: 1648,
        }
    }

    fn try_open(&self, recording: &Recording) -> Result<Disk, Error> {
        let gate = self.others.clone().with_recording(self.name, recording);
        Disk::open("disk.vmdk", &gate.options().writable(true))
    }
}

fn over_data(capacity: u64) -> MemoryGate {
    let line = format!("RW {capacity} FLAT \"flat\" 0");
    MemoryGate::default()
        .with("base.vmdk", descriptor("monolithicFlat", &[&line]))
        .with("flat", vec![0x77; usize::try_from(capacity).unwrap() * 512])
}

fn open(recording: &Recording) -> Disk {
    Disk::open("disk.vmdk", &recording.options().writable(true)).unwrap()
}

/// What each sector may hold: its content at the last flush that had ended, or anything written to it since.
struct History {
    /// For each sector, the fill bytes that it has had, each with the number of changes before it was written.
    sectors: Vec<Vec<(usize, u8)>>,
    /// How many changes there were when each flush had ended.
    flushes: Vec<usize>,
}

impl History {
    fn allows(&self, sector: usize, value: u8, stopped_at: usize) -> bool {
        let flushed = self
            .flushes
            .iter()
            .copied()
            .filter(|end| *end <= stopped_at)
            .max();
        let history = &self.sectors[sector];
        // The last value that a finished flush had before it, and everything behind that.
        let first = flushed.map_or(0, |flushed| {
            history
                .iter()
                .rposition(|(at, _)| *at <= flushed)
                .unwrap_or(0)
        });
        history[first..].iter().any(|(_, known)| *known == value)
    }
}

fn count(recording: &Recording) -> usize {
    recording.changes().len()
}

/// Random work on a disk; each write fills its sectors with one byte of its own.
fn work(subject: &Subject, recording: &Recording, seed: u64) -> History {
    let disk = subject.try_open(recording).unwrap();
    let capacity = subject.capacity;
    let mut history = History {
        sectors: vec![vec![(0, subject.content)]; usize::try_from(capacity).unwrap()],
        flushes: Vec::new(),
    };
    let mut numbers = Numbers::new(seed);
    for step in 1..=30_u8 {
        let start = numbers.below(capacity);
        let length = 1 + numbers.below((capacity - start).min(300));
        let target = range(start, start + length);
        let before = count(recording) + 1;
        let value = match numbers.below(8) {
            0 => {
                disk.write_zeroes(target, ZeroMode::MayFree).unwrap();
                0
            }
            1 => {
                disk.write_zeroes(target, ZeroMode::MustAllocate).unwrap();
                0
            }
            2 => {
                disk.flush().unwrap();
                history.flushes.push(count(recording));
                continue;
            }
            _ => {
                let bytes = vec![step; usize::try_from(length * 512).unwrap()];
                disk.write_at(target.start(), &bytes).unwrap();
                step
            }
        };
        for sector in start..start + length {
            history.sectors[usize::try_from(sector).unwrap()].push((before, value));
        }
    }
    disk.close().unwrap();
    history.flushes.push(count(recording));
    history
}

fn crash_everywhere(subject: &Subject, seed: u64) {
    let before = &subject.before;
    let recording = Recording::new(before.clone());
    let history = work(subject, &recording, seed);
    let changes = recording.changes();
    let mut numbers = Numbers::new(seed + 1);
    for stop in 0..=changes.len() {
        let file = crash(before, &changes[..stop], &mut numbers);
        let after = Recording::new(file);
        let disk = subject
            .try_open(&after)
            .unwrap_or_else(|error| panic!("seed {seed}, stopped at {stop}: {error}"));
        for (number, sector) in content(&disk).chunks(512).enumerate() {
            let value = sector[0];
            assert!(
                sector.iter().all(|byte| *byte == value) && history.allows(number, value, stop),
                "seed {seed}, stopped at {stop}: sector {number} holds {value}"
            );
        }
        // The disk works on, and what is written now does not meet what the crash left.
        disk.write_at(Sector::ZERO, &[0xcc; 512]).unwrap();
        disk.close().unwrap();
        let bytes = after.bytes();
        assert_eq!(bytes[subject.dirty_byte], 0);
        drop(subject.try_open(&after).unwrap());
    }
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_flushed() {
    for seed in 0..2 {
        for (version, flags) in [(1, 3), (2, 7), (1, 1)] {
            for preallocated in [true, false] {
                let image = SparseImage {
                    version,
                    flags,
                    preallocated,
                    ..SparseImage::monolithic(600)
                };
                crash_everywhere(&Subject::alone(&image), seed);
            }
        }
    }
}

/// What a crash leaves of a child shows its parent's data or its own, and nothing else.
#[test]
fn a_crash_of_a_child_is_survived() {
    for seed in 30..33 {
        for (version, flags) in [(1, 3), (2, 7)] {
            let image = SparseImage {
                version,
                flags,
                preallocated: seed % 2 == 0,
                ..SparseImage::monolithic(600)
            };
            crash_everywhere(&Subject::child(&image), seed);
        }
        crash_everywhere(&Subject::cowd(600, 1), seed);
        crash_everywhere(&Subject::cowd(600, 16), seed);
    }
}

/// Grains on both sides of a border between tables that do not exist yet.
#[test]
fn a_crash_while_tables_are_made_is_survived() {
    for seed in 10..22 {
        let image = SparseImage {
            preallocated: false,
            // With and without redundant tables.
            flags: if seed % 2 == 0 { 1 } else { 3 },
            ..SparseImage::monolithic(65536 + 128)
        };
        let before = image.build();
        let recording = Recording::new(before.clone());
        let disk = open(&recording);
        disk.write_at(Sector::new(65536 - 1), &[7; 1024]).unwrap();
        disk.flush().unwrap();
        let flushed = count(&recording);
        disk.write_at(Sector::new(0), &[8; 512]).unwrap();
        disk.close().unwrap();
        let changes = recording.changes();
        let mut numbers = Numbers::new(seed);
        for stop in 0..=changes.len() {
            let after = Recording::new(crash(&before, &changes[..stop], &mut numbers));
            let disk = open(&after);
            let mut sectors = [0; 1024];
            disk.read_at(Sector::new(65535), &mut sectors).unwrap();
            for sector in sectors.chunks(512) {
                let is_new = sector == [7; 512];
                assert!(
                    is_new || (stop < flushed && sector == [0; 512]),
                    "stopped at {stop}"
                );
            }
            disk.write_at(Sector::new(65536), &[9; 512]).unwrap();
            disk.close().unwrap();
            drop(open(&after));
        }
    }
}

/// The changes of one write, one flush and a close, as the file sees them; `name` tells what lies in a sector.
fn changes_of_a_first_write(
    image: &SparseImage,
    name: impl Fn(u64) -> Option<&'static str>,
) -> Vec<String> {
    let recording = Recording::new(image.build());
    let disk = open(&recording);
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    disk.flush().unwrap();
    disk.close().unwrap();
    let named = |at: u64| name(at).map_or_else(|| format!("sector {at}"), str::to_owned);
    let describe = |change: &Change| match change {
        Change::Sync => "sync".to_owned(),
        Change::SetLen(_) => "extend".to_owned(),
        Change::Zero(_) => "zero".to_owned(),
        Change::Write(72, byte) => format!("dirty {}", byte[0]),
        Change::Write(at, _) if (1..=20).contains(&(at / 512)) => "text".to_owned(),
        Change::Write(at, _) => named(at / 512),
    };
    recording.changes().iter().map(describe).collect()
}

/// The rules of order themselves.
#[test]
fn the_content_id_comes_first_and_data_before_tables() {
    let changes = changes_of_a_first_write(&SparseImage::monolithic(300), |sector| match sector {
        22 => Some("redundant table"),
        27 => Some("table"),
        128 => Some("data"),
        _ => None,
    });
    assert_eq!(
        changes,
        [
            "text",
            "text",
            "sync",
            "extend",
            "data",
            "dirty 1",
            "sync",
            "table",
            "redundant table",
            "sync",
            "sync",
            "dirty 0",
            "sync"
        ]
    );
}

/// A directory entry must not reach the file before the table that it names.
#[test]
fn new_tables_are_durable_before_their_directory_entries() {
    let with_copies = SparseImage {
        preallocated: false,
        ..SparseImage::monolithic(300)
    };
    let without_copies = SparseImage {
        flags: 1,
        ..with_copies.clone()
    };
    let name = |sector| match sector {
        21 => Some("redundant directory"),
        26 => Some("directory"),
        128 => Some("data"),
        256 => Some("table"),
        260 => Some("redundant table"),
        _ => None,
    };
    let start = ["text", "text", "sync", "extend", "data", "dirty 1", "sync"];
    let end = ["directory", "sync", "sync", "dirty 0", "sync"];
    for (image, between) in [
        (&without_copies, vec!["extend", "table", "sync"]),
        (
            &with_copies,
            vec![
                "extend",
                "table",
                "redundant table",
                "sync",
                "redundant directory",
                "sync",
            ],
        ),
    ] {
        let expected = [&start[..], &between, &end].concat();
        assert_eq!(changes_of_a_first_write(image, name), expected);
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let recording = Recording::new(SparseImage::monolithic(1000).build());
    let disk = open(&recording);
    disk.write_at(Sector::ZERO, &[1; 128 * 512]).unwrap();
    let length = recording.bytes().len();
    recording.fail(Failure::WritesFrom(
        length as u64,
        io::ErrorKind::StorageFull,
    ));
    let error = disk
        .write_at(Sector::new(100), &[2; 128 * 512])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert_eq!(recording.bytes().len(), length, "the space is given back");
    let error = disk.write_at(Sector::new(512), &[2; 512]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "writing sectors 512..513 failed: disk.vmdk: writing grains"
    );
    // Allocated grains can still be written, and flushed.
    disk.write_at(Sector::new(5), &[3; 512]).unwrap();
    disk.flush().unwrap();
    recording.fail(Failure::None);
    disk.write_at(Sector::new(512), &[4; 512]).unwrap();
    disk.close().unwrap();
    let found = content(&open(&recording));
    assert!(found[..5 * 512].iter().all(|byte| *byte == 1));
    assert!(found[5 * 512..6 * 512].iter().all(|byte| *byte == 3));
    assert!(found[512 * 512..513 * 512].iter().all(|byte| *byte == 4));
    assert!(found[513 * 512..].iter().all(|byte| *byte == 0));
}

#[test]
fn after_a_failed_write_of_metadata_nothing_is_written_any_more() {
    for failure in [
        Failure::WritesBelow(65536, io::ErrorKind::Other),
        Failure::Syncs,
    ] {
        let recording = Recording::new(SparseImage::monolithic(1000).build());
        let disk = open(&recording);
        disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.write_at(Sector::new(200), &[2; 512]).unwrap();
        recording.fail(failure);
        assert_eq!(disk.flush().unwrap_err().kind(), ErrorKind::Io);
        recording.fail(Failure::None);
        let changes = count(&recording);
        for error in [
            disk.write_at(Sector::ZERO, &[3; 512]).unwrap_err(),
            disk.write_zeroes(range(0, 1000), ZeroMode::MayFree)
                .unwrap_err(),
            disk.trim(range(0, 1000)).unwrap_err(),
            disk.flush().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::WritesSuspended, "{error}");
        }
        // Reads go on, with what was written.
        let mut sector = [0; 512];
        disk.read_at(Sector::new(200), &mut sector).unwrap();
        assert_eq!(sector, [2; 512]);
        assert_eq!(disk.close().unwrap_err().kind(), ErrorKind::WritesSuspended);
        assert_eq!(count(&recording), changes);
        let disk = open(&recording);
        disk.read_at(Sector::ZERO, &mut sector).unwrap();
        assert_eq!(sector, [1; 512], "what was flushed is there");
        disk.write_at(Sector::ZERO, &[3; 512]).unwrap();
        disk.close().unwrap();
    }
}

/// What a failed sync lost is lost for good; a later flush must not say that it is durable.
#[test]
fn after_a_failed_sync_of_a_flat_file_no_flush_succeeds() {
    let flat = Recording::new(vec![0; 64 * 512]);
    let text = descriptor("monolithicFlat", &["RW 64 FLAT \"flat\" 0"]);
    let gate = MemoryGate::default()
        .with("disk.vmdk", text)
        .with_recording("flat", &flat);
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    flat.fail(Failure::Syncs);
    assert_eq!(disk.flush().unwrap_err().kind(), ErrorKind::Io);
    flat.fail(Failure::None);
    for error in [
        disk.flush().unwrap_err(),
        disk.write_at(Sector::ZERO, &[2; 512]).unwrap_err(),
        disk.close().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::WritesSuspended, "{error}");
    }
}
