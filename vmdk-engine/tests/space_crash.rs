//! Stopped at any moment of shrinking or defragmenting, with any part of the unsynced writes lost, a disk has its
//! content, and the same can be done again to the end.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use support::image::{MemoryGate, SparseImage, child_of, descriptor};
use support::recording::{Recording, crash};
use support::{Numbers, content, range};
use vmdk_engine::{Disk, Sector, ZeroMode, unwatched};

const GRAINS: u64 = 80;
const GRAIN: u64 = 8;
const SECTORS: u64 = GRAINS * GRAIN - 3;

/// A disk in one file, over other files.
struct Subject {
    others: MemoryGate,
    image: SparseImage,
}

impl Subject {
    fn new(image: &SparseImage, is_child: bool) -> Self {
        if !is_child {
            return Self {
                others: MemoryGate::default(),
                image: image.clone(),
            };
        }
        let line = format!("RW {SECTORS} FLAT \"flat\" 0");
        Self {
            others: MemoryGate::default()
                .with("base.vmdk", descriptor("monolithicFlat", &[&line]))
                .with("flat", vec![0x77; usize::try_from(SECTORS).unwrap() * 512]),
            image: SparseImage {
                text: child_of(&image.text, 2, 0x1f2e_3d4c, "base.vmdk"),
                ..image.clone()
            },
        }
    }

    fn open(&self, file: &Recording) -> Disk {
        let gate = self.others.clone().with_recording("disk.vmdk", file);
        Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap()
    }

    /// The file after random work, which leaves holes, zeros and grains in no order.
    fn used(&self, numbers: &mut Numbers) -> Vec<u8> {
        let file = Recording::new(self.image.build());
        let disk = self.open(&file);
        for step in 0..60_u8 {
            let start = numbers.below(SECTORS);
            let count = 1 + numbers.below((SECTORS - start).min(30));
            let sectors = range(start, start + count);
            let fill = match numbers.below(5) {
                0 => {
                    disk.write_zeroes(sectors, ZeroMode::MustAllocate).unwrap();
                    continue;
                }
                1 => {
                    disk.write_zeroes(sectors, ZeroMode::MayFree).unwrap();
                    continue;
                }
                _ => step + 1,
            };
            let bytes = vec![fill; usize::try_from(count).unwrap() * 512];
            disk.write_at(Sector::new(start), &bytes).unwrap();
        }
        disk.close().unwrap();
        file.bytes()
    }
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Shrink,
    Defragment,
}

fn run(disk: &mut Disk, work: Work) {
    match work {
        Work::Shrink => disk.shrink(&mut unwatched).unwrap(),
        Work::Defragment => disk.defragment(&mut unwatched).unwrap(),
    }
}

fn crash_everywhere(subject: &Subject, work: Work, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let before = subject.used(&mut numbers);
    let file = Recording::new(before.clone());
    let mut disk = subject.open(&file);
    let expected = content(&disk);
    run(&mut disk, work);
    disk.close().unwrap();
    let end = file.bytes().len();
    let changes = file.changes();
    // Without an entry for zeros, a child has none to give back.
    let may_keep = subject.image.flags & 4 == 0 && matches!(work, Work::Shrink);
    assert!(may_keep || changes.len() > 10, "{work:?} did nothing");
    for stop in 0..=changes.len() {
        let after = Recording::new(crash(&before, &changes[..stop], &mut numbers));
        let mut disk = subject.open(&after);
        let found = content(&disk);
        assert!(
            found == expected,
            "{work:?}, seed {seed}, stopped at {stop}"
        );
        run(&mut disk, work);
        assert!(
            content(&disk) == expected,
            "{work:?}, {seed}, {stop}: again"
        );
        disk.close().unwrap();
        if subject.image.preallocated {
            assert_eq!(after.bytes().len(), end, "{work:?}, {seed}, {stop}");
        }
        let disk = subject.open(&after);
        assert!(
            content(&disk) == expected,
            "{work:?}, {seed}, {stop}: reopened"
        );
        disk.close().unwrap();
    }
}

/// More seeds for a longer look.
fn seeds() -> u64 {
    let seeds = std::env::var("VMDK_CRASH_SEEDS").ok();
    seeds.map_or(1, |seeds| seeds.parse().unwrap())
}

#[test]
fn a_crash_anywhere_leaves_the_content() {
    for seed in 0..seeds() {
        for (version, flags) in [(1, 3), (2, 7), (1, 1)] {
            for is_child in [false, true] {
                let image = SparseImage {
                    version,
                    flags,
                    grain: GRAIN,
                    preallocated: (seed + u64::from(flags) / 2) % 2 == 0,
                    ..SparseImage::monolithic(SECTORS)
                };
                let subject = Subject::new(&image, is_child);
                for work in [Work::Shrink, Work::Defragment] {
                    crash_everywhere(&subject, work, seed);
                }
            }
        }
    }
}

/// More grains than move at once, so that a batch uses what an earlier one left.
#[test]
fn a_crash_between_batches_leaves_the_content() {
    let image = SparseImage {
        grain: 8,
        ..SparseImage::monolithic(8 * 700)
    };
    let subject = Subject {
        others: MemoryGate::default(),
        image,
    };
    let first = Recording::new(subject.image.build());
    let disk = subject.open(&first);
    for grain in 0..700 {
        // 299 has no factor in common with 700: every grain once, in no order.
        let grain = grain * 299 % 700;
        let byte = u8::try_from(grain % 250).unwrap();
        disk.write_at(Sector::new(grain * 8), &[byte; 4096])
            .unwrap();
    }
    let expected = content(&disk);
    disk.close().unwrap();
    let before = first.bytes();
    let file = Recording::new(before.clone());
    let mut disk = subject.open(&file);
    run(&mut disk, Work::Defragment);
    disk.close().unwrap();
    let changes = file.changes();
    let mut numbers = Numbers::new(9);
    for stop in (0..=changes.len()).step_by(17) {
        let after = Recording::new(crash(&before, &changes[..stop], &mut numbers));
        let disk = subject.open(&after);
        assert!(content(&disk) == expected, "stopped at {stop}");
    }
}

/// Tables that lie among the grains move, too.
#[test]
fn a_crash_while_tables_move_leaves_the_content() {
    let capacity = 4096 * 3;
    for flags in [1, 3] {
        let image = SparseImage {
            flags,
            grain: 8,
            preallocated: false,
            ..SparseImage::monolithic(capacity)
        };
        let subject = Subject {
            others: MemoryGate::default(),
            image,
        };
        let first = Recording::new(subject.image.build());
        let disk = subject.open(&first);
        let write = |grain: u64, byte: u8| {
            let sectors = range(grain * 8, (grain + 1) * 8);
            disk.write_zeroes(sectors, ZeroMode::MustAllocate).unwrap();
            disk.write_at(Sector::new(grain * 8), &[byte; 4096])
                .unwrap();
            disk.flush().unwrap();
        };
        for grain in 0..12 {
            write(grain, if grain % 3 == 0 { 0 } else { 7 });
        }
        write(1000, 8);
        write(600, 9);
        let expected = content(&disk);
        disk.close().unwrap();
        let before = first.bytes();
        let file = Recording::new(before.clone());
        let mut disk = subject.open(&file);
        run(&mut disk, Work::Shrink);
        disk.close().unwrap();
        assert!(file.bytes().len() < before.len());
        let changes = file.changes();
        let mut numbers = Numbers::new(20);
        for stop in 0..=changes.len() {
            for _ in 0..2 {
                let after = Recording::new(crash(&before, &changes[..stop], &mut numbers));
                let mut disk = subject.open(&after);
                assert!(content(&disk) == expected, "stopped at {stop}");
                run(&mut disk, Work::Shrink);
                assert!(content(&disk) == expected, "stopped at {stop}: again");
                disk.close().unwrap();
                drop(subject.open(&after));
            }
        }
    }
}

/// What is cut off must not come back where a new grain is written in part.
#[test]
fn new_grains_never_show_what_was_cut_off() {
    let image = SparseImage {
        grain: GRAIN,
        ..SparseImage::monolithic(SECTORS)
    };
    let subject = Subject::new(&image, false);
    let start = Recording::new(image.build());
    let disk = subject.open(&start);
    let zeros = range(0, 10 * GRAIN);
    disk.write_zeroes(zeros, ZeroMode::MustAllocate).unwrap();
    for grain in 10..30 {
        disk.write_at(Sector::new(grain * GRAIN), &[0xaa; 4096])
            .unwrap();
    }
    disk.close().unwrap();
    let before = start.bytes();
    for seed in 0..20 {
        let file = Recording::new(before.clone());
        let mut disk = subject.open(&file);
        run(&mut disk, Work::Shrink);
        let shrunk = file.changes().len();
        let mut expected = content(&disk);
        disk.write_at(Sector::new(3), &[0xbb; 512]).unwrap();
        disk.close().unwrap();
        let changes = file.changes();
        let mut numbers = Numbers::new(seed);
        for stop in shrunk..=changes.len() {
            let after = Recording::new(crash(&before, &changes[..stop], &mut numbers));
            let found = content(&subject.open(&after));
            let written = &mut expected[3 * 512..4 * 512];
            written.copy_from_slice(&found[3 * 512..4 * 512]);
            assert!(written == [0; 512] || written == [0xbb; 512]);
            assert!(found == expected, "seed {seed}, stopped at {stop}");
        }
    }
}
