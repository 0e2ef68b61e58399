//! Shrinking and defragmenting: the content stays, the file becomes as small, or as ordered, as it can be.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::ops::ControlFlow;

use proptest::prelude::*;
use support::esx::CowdImage;
use support::image::{MemoryGate, SparseImage, child_of, descriptor, entry, put_entry};
use support::recording::{Failure, Recording};
use support::{Numbers, content, range};
use vmdk_engine::{
    Allocation, ByteLen, Disk, ErrorKind, OpenOptions, Progress, Sector, SectorRange, ZeroMode,
    unwatched,
};

/// A disk in memory and what is known of its layout.
struct Subject {
    gate: MemoryGate,
    image: SparseImage,
    /// What shows where it has nothing.
    below: u8,
}

impl Subject {
    fn alone(image: SparseImage) -> Self {
        Self {
            gate: MemoryGate::default().with("disk.vmdk", image.build()),
            image,
            below: 0,
        }
    }

    /// The same over a parent full of data.
    fn child(image: SparseImage) -> Self {
        let sectors = image.capacity;
        let line = format!("RW {sectors} FLAT \"flat\" 0");
        let text = child_of(&image.text, 2, 0x1f2e_3d4c, "base.vmdk");
        let image = SparseImage { text, ..image };
        Self {
            gate: MemoryGate::default()
                .with("disk.vmdk", image.build())
                .with("base.vmdk", descriptor("monolithicFlat", &[&line]))
                .with("flat", vec![0x77; bytes(sectors)]),
            image,
            below: 0x77,
        }
    }

    fn open(&self) -> Disk {
        Disk::open("disk.vmdk", &self.gate.options().writable(true)).unwrap()
    }

    fn has_zeroed_grains(&self) -> bool {
        self.image.flags & 4 != 0
    }

    fn file(&self) -> Vec<u8> {
        self.gate.bytes("disk.vmdk")
    }

    /// The places of all allocated grains, in the order of the guest.
    fn places(&self) -> Vec<u64> {
        let file = self.file();
        let grains = self.image.capacity.div_ceil(self.image.grain);
        (0..grains)
            .map(|grain| {
                let table = entry(&file, self.image.directory(), grain / 512);
                match table {
                    0 => 0,
                    table => entry(&file, table.into(), grain % 512),
                }
            })
            .filter(|place| *place > 1)
            .map(u64::from)
            .collect()
    }
}

fn bytes(sectors: u64) -> usize {
    usize::try_from(sectors).unwrap() * 512
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u64, u64),
    Zero(u64, u64, ZeroMode),
    /// Zeros that are written as data.
    WriteZeros(u64, u64),
    Trim(u64, u64),
    Shrink,
    Defragment,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![1_u64..20, 1_u64..400, 1_u64..2000];
    let mode = prop_oneof![Just(ZeroMode::MayFree), Just(ZeroMode::MustAllocate)];
    prop_oneof![
        6 => (any::<u64>(), length(), any::<u64>()).prop_map(|(at, length, seed)| Step::Write(at, length, seed)),
        1 => (any::<u64>(), length(), mode).prop_map(|(at, length, mode)| Step::Zero(at, length, mode)),
        2 => (any::<u64>(), length()).prop_map(|(at, length)| Step::WriteZeros(at, length)),
        1 => (any::<u64>(), length()).prop_map(|(at, length)| Step::Trim(at, length)),
        2 => Just(Step::Shrink),
        2 => Just(Step::Defragment),
        1 => Just(Step::Reopen),
    ]
}

fn on(at: u64, length: u64, capacity: u64) -> SectorRange {
    let start = at % capacity;
    range(start, (start + length).min(capacity))
}

fn part(model: &mut [u8], range: SectorRange) -> &mut [u8] {
    &mut model[bytes(range.start().get())..bytes(range.end().get())]
}

/// The smallest file is its metadata and the grains that must be there; the tables that were made later take whole
/// slots.
fn check_shrunk(subject: &Subject, model: &[u8]) -> Result<(), TestCaseError> {
    let grain = subject.image.grain;
    let places = subject.places();
    if !subject.image.preallocated {
        // Tables that were made later take a slot at most, each with its copy.
        let slots = u64::try_from(places.len()).unwrap() + subject.image.tables();
        let end = subject.image.overhead() + slots * grain;
        prop_assert!(subject.file().len() <= bytes(end));
        return Ok(());
    }
    let needed = model
        .chunks(bytes(grain))
        .filter(|grain| grain.iter().any(|byte| *byte != 0))
        .count();
    if subject.below == 0 || subject.has_zeroed_grains() {
        prop_assert!(places.len() <= needed);
    }
    if subject.below == 0 {
        prop_assert_eq!(places.len(), needed);
    }
    let end = subject.image.overhead() + u64::try_from(places.len()).unwrap() * grain;
    prop_assert_eq!(subject.file().len(), bytes(end));
    Ok(())
}

fn check_in_order(subject: &Subject) -> Result<(), TestCaseError> {
    let places = subject.places();
    prop_assert!(places.is_sorted(), "{places:?}");
    if subject.image.preallocated {
        let first = subject.image.overhead();
        let expected: Vec<u64> = (0..u64::try_from(places.len()).unwrap())
            .map(|number| first + number * subject.image.grain)
            .collect();
        prop_assert_eq!(&places, &expected);
        let end = first + u64::try_from(places.len()).unwrap() * subject.image.grain;
        prop_assert_eq!(subject.file().len(), bytes(end));
    }
    Ok(())
}

fn work(subject: &Subject, steps: &[Step]) -> Result<(), TestCaseError> {
    let capacity = subject.image.capacity;
    let mut model = vec![subject.below; bytes(capacity)];
    let mut disk = subject.open();
    for step in steps {
        match *step {
            Step::Write(at, length, seed) => {
                let range = on(at, length, capacity);
                let target = part(&mut model, range);
                Numbers::new(seed).fill(target);
                disk.write_at(range.start(), target).unwrap();
            }
            Step::WriteZeros(at, length) => {
                let range = on(at, length, capacity);
                let target = part(&mut model, range);
                target.fill(0);
                disk.write_at(range.start(), target).unwrap();
            }
            Step::Zero(at, length, mode) => {
                let range = on(at, length, capacity);
                part(&mut model, range).fill(0);
                disk.write_zeroes(range, mode).unwrap();
            }
            Step::Trim(at, length) => {
                let range = on(at, length, capacity);
                disk.trim(range).unwrap();
                // What that leaves is the matter of other tests.
                model = content(&disk);
            }
            Step::Shrink => {
                disk.shrink(&mut unwatched).unwrap();
                check_shrunk(subject, &model)?;
            }
            Step::Defragment => {
                let before = subject.places().len();
                disk.flush().unwrap();
                let flushed = subject.places().len();
                disk.defragment(&mut unwatched).unwrap();
                prop_assert_eq!(subject.places().len(), flushed, "{} before", before);
                check_in_order(subject)?;
            }
            Step::Reopen => {
                disk.close().unwrap();
                disk = subject.open();
            }
        }
        prop_assert!(content(&disk) == model, "after {step:?}");
    }
    disk.close().unwrap();
    // Opening for writing checks all metadata, both copies.
    prop_assert!(content(&subject.open()) == model);
    Ok(())
}

fn image() -> impl Strategy<Value = SparseImage> {
    let capacity = prop::sample::select(&[1_u64, 129, 1000, 5003, 9000][..]);
    let grain = prop::sample::select(&[8_u64, 16, 128][..]);
    let versions = prop::sample::select(&[(1_u32, 3_u32), (1, 1), (2, 7)][..]);
    (capacity, grain, versions, any::<bool>()).prop_map(
        |(capacity, grain, (version, flags), preallocated)| SparseImage {
            grain,
            version,
            flags,
            preallocated,
            ..SparseImage::monolithic(capacity)
        },
    )
}

/// Two tables fit into a slot, and the first one has one for itself: the second must not stay at the end.
#[test]
fn a_late_table_moves_although_the_first_slot_is_taken() {
    let image = SparseImage {
        grain: 8,
        version: 1,
        flags: 1,
        preallocated: false,
        ..SparseImage::monolithic(9000)
    };
    let steps = [
        Step::WriteZeros(3_765_050_321_905_633_096, 1),
        Step::Shrink,
        Step::WriteZeros(1_210_500_839_432_023_545, 648),
        Step::Shrink,
    ];
    work(&Subject::alone(image), &steps).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_content_stays_while_grains_move(
        image in image(),
        is_child in any::<bool>(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let subject = if is_child { Subject::child(image) } else { Subject::alone(image) };
        work(&subject, &steps)?;
    }
}

/// A disk of `grains` grains of 4 KiB, written in a random order, each filled with its own byte; some with zeros.
fn scattered(image: &SparseImage, numbers: &mut Numbers) -> Subject {
    let subject = Subject::alone(image.clone());
    let disk = subject.open();
    let grains = image.capacity / image.grain;
    let mut order: Vec<u64> = (0..grains).collect();
    for index in (1..order.len()).rev() {
        let other = numbers.below(u64::try_from(index).unwrap() + 1);
        order.swap(index, usize::try_from(other).unwrap());
    }
    for grain in order {
        // Only if they must, zeros take space.
        let byte = u8::try_from(grain % 4 * 50).unwrap();
        let sectors = range(grain * image.grain, (grain + 1) * image.grain);
        disk.write_zeroes(sectors, ZeroMode::MustAllocate).unwrap();
        disk.write_at(sectors.start(), &vec![byte; bytes(image.grain)])
            .unwrap();
    }
    disk.close().unwrap();
    subject
}

/// Tables that were made at the end of the file, as other programs do, do not keep it long.
#[test]
fn late_tables_move_to_the_front() {
    for flags in [1, 3] {
        let image = SparseImage {
            flags,
            preallocated: false,
            ..SparseImage::monolithic(65536 * 4)
        };
        let subject = Subject::alone(image.clone());
        let mut disk = subject.open();
        for step in 0..40_u64 {
            // A new table with each of the last grains.
            let grain = if step < 36 {
                step
            } else {
                (step - 35) * 512 - 1
            };
            let bytes = vec![u8::try_from(step).unwrap() + 1; bytes(128)];
            disk.write_at(Sector::new(grain * 128), &bytes).unwrap();
            disk.flush().unwrap();
        }
        disk.write_zeroes(range(0, 36 * 128), ZeroMode::MustAllocate)
            .unwrap();
        let long = subject.file().len();
        disk.shrink(&mut unwatched).unwrap();
        // Four grains, and one slot of tables beside the one that the first table took when it was made.
        let end = image.overhead() + (4 + 2) * 128;
        assert!(subject.file().len() <= bytes(end), "{long}");
        for step in 36..40_u64 {
            let mut sector = [0; 512];
            disk.read_at(Sector::new((step - 35) * 65536 - 1), &mut sector)
                .unwrap();
            assert_eq!(sector, [u8::try_from(step).unwrap() + 1; 512]);
        }
        disk.write_at(Sector::new(65536 * 2), &[9; 512]).unwrap();
        disk.close().unwrap();
        let disk = subject.open();
        let mut sector = [0; 512];
        disk.read_at(Sector::new(65536 * 2), &mut sector).unwrap();
        assert_eq!(sector, [9; 512]);
    }
}

/// More grains than move at once.
#[test]
fn many_grains_move_in_batches() {
    let image = SparseImage {
        grain: 8,
        ..SparseImage::monolithic(8 * 1500)
    };
    let subject = scattered(&image, &mut Numbers::new(3));
    let mut disk = subject.open();
    let before = content(&disk);
    disk.defragment(&mut unwatched).unwrap();
    assert!(content(&disk) == before);
    let first = image.overhead();
    let places: Vec<u64> = (0..1500).map(|grain| first + grain * 8).collect();
    assert_eq!(subject.places(), places);
    disk.shrink(&mut unwatched).unwrap();
    assert!(content(&disk) == before);
    assert_eq!(subject.places().len(), 1125);
    assert_eq!(subject.file().len(), bytes(first + 1125 * 8));
    disk.close().unwrap();
    assert!(content(&subject.open()) == before);
}

/// Space that is given back can be written again, and what is written there is what is read.
#[test]
fn a_shrunk_disk_works_on() {
    let image = SparseImage::monolithic(128 * 40);
    let subject = scattered(&image, &mut Numbers::new(4));
    let mut disk = subject.open();
    disk.shrink(&mut unwatched).unwrap();
    let mut expected = content(&disk);
    // Only a part of the grain is written: the rest must not be what was cut off.
    disk.write_at(Sector::new(5), &[9; 512]).unwrap();
    expected[5 * 512..6 * 512].fill(9);
    assert!(content(&disk) == expected);
    disk.close().unwrap();
    assert!(content(&subject.open()) == expected);
}

#[test]
fn the_content_id_stays_and_progress_ends_at_a_hundred() {
    let image = SparseImage::monolithic(128 * 40);
    let subject = scattered(&image, &mut Numbers::new(5));
    let id = subject.file()[512..2048].to_vec();
    let mut disk = subject.open();
    let mut reports: Vec<Progress> = Vec::new();
    let mut watch = |progress: Progress| {
        reports.push(progress);
        ControlFlow::Continue(())
    };
    disk.shrink(&mut watch).unwrap();
    disk.defragment(&mut watch).unwrap();
    disk.close().unwrap();
    assert_eq!(subject.file()[512..2048], id);
    let ends: Vec<usize> = (0..reports.len())
        .filter(|index| reports[*index].percent() == 100)
        .collect();
    let last = reports.len() - 1;
    assert!(ends.contains(&last), "{reports:?}");
    assert_eq!(reports[0].done, ByteLen::ZERO);
    for pair in reports.windows(2).filter(|pair| pair[0].percent() < 100) {
        assert!(pair[0].done <= pair[1].done, "{reports:?}");
    }
}

/// Cancelled anywhere, the disk has its content, and a second attempt comes to the same end.
#[test]
fn cancelling_leaves_a_valid_disk() {
    let image = SparseImage {
        grain: 8,
        ..SparseImage::monolithic(8 * 600)
    };
    let scattered = scattered(&image, &mut Numbers::new(6));
    let before = content(&scattered.open());
    for defragment in [false, true] {
        let run = |disk: &mut Disk, reports: usize| {
            let mut left = reports;
            let mut watch = |_: Progress| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                ControlFlow::Continue(())
            };
            if defragment {
                disk.defragment(&mut watch)
            } else {
                disk.shrink(&mut watch)
            }
        };
        for reports in 0.. {
            let subject = Subject {
                gate: MemoryGate::default().with("disk.vmdk", scattered.file()),
                image: image.clone(),
                below: 0,
            };
            let mut disk = subject.open();
            let result = run(&mut disk, reports);
            assert!(content(&disk) == before);
            disk.close().unwrap();
            let mut disk = subject.open();
            assert!(content(&disk) == before);
            let Err(error) = result else {
                assert!(reports > 2, "nothing could be cancelled");
                break;
            };
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            run(&mut disk, usize::MAX).unwrap();
            disk.close().unwrap();
            let grains = if defragment { 600 } else { 450 };
            let end = image.overhead() + grains * 8;
            assert_eq!(subject.file().len(), bytes(end));
        }
    }
}

/// Some programs leave grains at odd sectors; those that lie between the slots of the others move into slots.
#[test]
fn grains_at_odd_places_are_brought_into_slots() {
    let image = SparseImage {
        grain: 8,
        ..SparseImage::monolithic(8 * 20)
    };
    let mut file = image.build();
    let first = image.overhead() + 3;
    // Grains 0 to 9 three sectors off, the last of them once more off by two.
    for grain in 0..10 {
        let off = if grain == 9 { 2 } else { 0 };
        let place = first + 16 * grain + off;
        for table in [image.first_table(), image.redundant_directory() + 1] {
            put_entry(&mut file, table, 9 - grain, u32::try_from(place).unwrap());
        }
        file.resize(bytes(place), 0xdd);
        file.resize(bytes(place + 8), u8::try_from(grain + 1).unwrap());
    }
    for defragment in [false, true] {
        let subject = Subject {
            gate: MemoryGate::default().with("disk.vmdk", file.clone()),
            image: image.clone(),
            below: 0,
        };
        let mut disk = subject.open();
        let before = content(&disk);
        if defragment {
            disk.defragment(&mut unwatched).unwrap();
        } else {
            disk.shrink(&mut unwatched).unwrap();
        }
        assert!(content(&disk) == before);
        disk.close().unwrap();
        let mut places = subject.places();
        places.sort_unstable();
        let expected: Vec<u64> = (0..10).map(|slot| first + slot * 8).collect();
        assert_eq!(places, expected);
        // The file ends with a whole number of grains.
        assert_eq!(
            subject.file().len(),
            bytes((first + 80).next_multiple_of(8))
        );
        assert!(content(&subject.open()) == before);
    }
}

#[test]
fn each_extent_of_a_split_disk_shrinks() {
    let extent = SparseImage {
        grain: 16,
        ..SparseImage::extent(16 * 30)
    };
    let line = |name: &str| format!("RW {} SPARSE \"{name}\"", extent.capacity);
    let text = descriptor("twoGbMaxExtentSparse", &[&line("one"), &line("two")]);
    let gate = MemoryGate::default()
        .with("disk.vmdk", text)
        .with("one", extent.build())
        .with("two", extent.build());
    let open = || Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    let mut disk = open();
    disk.write_zeroes(range(0, 60 * 16), ZeroMode::MustAllocate)
        .unwrap();
    for grain in (0..60).rev() {
        let byte = u8::try_from(grain % 3).unwrap();
        disk.write_at(Sector::new(grain * 16), &vec![byte; bytes(16)])
            .unwrap();
    }
    let before = content(&disk);
    disk.shrink(&mut unwatched).unwrap();
    disk.defragment(&mut unwatched).unwrap();
    disk.close().unwrap();
    for name in ["one", "two"] {
        assert_eq!(gate.bytes(name).len(), bytes(extent.overhead() + 20 * 16));
    }
    assert!(content(&open()) == before);
}

#[test]
fn disks_without_space_to_give_are_refused() {
    let line = |kind: &str, name: &str| format!("RW 64 {kind} \"{name}\"");
    let gate = MemoryGate::default()
        .with(
            "flat.vmdk",
            descriptor("monolithicFlat", &[&line("FLAT", "flat")]),
        )
        .with("flat", vec![0; bytes(64)])
        .with(
            "cowd.vmdk",
            descriptor("vmfsSparse", &[&line("VMFSSPARSE", "cowd")]),
        )
        .with("cowd", CowdImage::new(64, 1).build())
        .with("sparse.vmdk", SparseImage::monolithic(64).build());
    for (name, shrinks, defragments) in [
        ("flat.vmdk", Some(ErrorKind::CannotShrink), None),
        (
            "cowd.vmdk",
            Some(ErrorKind::CannotShrink),
            Some(ErrorKind::Unsupported),
        ),
        ("sparse.vmdk", None, None),
    ] {
        let mut disk = Disk::open(name, &gate.options().writable(true)).unwrap();
        let kind = |result: Result<(), vmdk_engine::Error>| result.err().map(|error| error.kind());
        assert_eq!(kind(disk.shrink(&mut unwatched)), shrinks, "{name}");
        assert_eq!(kind(disk.defragment(&mut unwatched)), defragments, "{name}");
        drop(disk);
        let mut disk = Disk::open(name, &gate.options()).unwrap();
        for result in [disk.shrink(&mut unwatched), disk.defragment(&mut unwatched)] {
            assert_eq!(kind(result), Some(ErrorKind::ReadOnly), "{name}");
        }
    }
}

/// Space that cannot be had for moving grains is an error that costs nothing.
#[test]
fn a_full_disk_can_still_be_read() {
    let image = SparseImage {
        grain: 8,
        ..SparseImage::monolithic(8 * 100)
    };
    let file = scattered(&image, &mut Numbers::new(8)).file();
    let recording = Recording::new(file);
    let mut disk = Disk::open("disk.vmdk", &recording.options().writable(true)).unwrap();
    let before = content(&disk);
    let end = u64::try_from(recording.bytes().len()).unwrap();
    recording.fail(Failure::WritesFrom(end, std::io::ErrorKind::StorageFull));
    let error = disk.defragment(&mut unwatched).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert!(content(&disk) == before);
    recording.fail(Failure::None);
    disk.defragment(&mut unwatched).unwrap();
    disk.close().unwrap();
    let disk = Disk::open("disk.vmdk", &recording.options().writable(true)).unwrap();
    assert!(content(&disk) == before);
}

/// The file of a thin disk gets holes where it has zeros.
#[test]
fn a_thin_flat_file_gets_holes() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let sectors = 16 * 2048;
    let line = format!("RW {sectors} VMFS \"disk-flat.vmdk\"");
    let text = descriptor("vmfs", &[&line]) + "ddb.thinProvisioned = \"1\"\n";
    std::fs::write(&path, text).unwrap();
    let flat = scratch.path().join("disk-flat.vmdk");
    let mut bytes = vec![0; bytes(sectors)];
    Numbers::new(1).fill(&mut bytes[3 << 20..(3 << 20) + 12345]);
    bytes[(9 << 20) + 70_000] = 1;
    std::fs::write(&flat, &bytes).unwrap();
    let mut disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
    disk.shrink(&mut unwatched).unwrap();
    let data: u64 = disk
        .extents(range(0, sectors))
        .map(|extent| extent.unwrap())
        .filter(|extent| extent.state == Allocation::Data)
        .map(|extent| extent.range.count().get())
        .sum();
    assert!(data <= 32 + 8, "{data} sectors are left");
    assert!(content(&disk) == bytes);
    disk.close().unwrap();
    assert!(std::fs::read(flat).unwrap() == bytes);
}
