//! Children that are opened alone for writing: whole grains can be written, parts of what the parent may have cannot,
//! and seen with its parent again the disk has what was written and nothing else.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure here fails the test"
)]

mod support;

use proptest::prelude::*;
use support::content;
use support::esx::CowdImage;
use support::image::{MemoryGate, SECTOR, SparseImage, child_of, descriptor};
use vmdk_engine::{Allocation, Disk, ErrorKind, Sector, SectorCount, SectorRange, ZeroMode};

const CAPACITY: u64 = 1000;

/// A child that can hold zeros without space, one that cannot, and one whose grains are sectors.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Zeroed,
    Plain,
    Cowd,
}

impl Kind {
    fn grain(self) -> u64 {
        match self {
            Self::Cowd => 1,
            _ => 128,
        }
    }

    fn gate(self) -> MemoryGate {
        let line = match self {
            Self::Cowd => format!("RW {CAPACITY} VMFSSPARSE \"delta\""),
            _ => format!("RW {CAPACITY} SPARSE \"delta\""),
        };
        let text = child_of(&descriptor("custom", &[&line]), 2, 0x1f2e_3d4c, "base.vmdk");
        let delta = match self {
            Self::Cowd => CowdImage::new(1000, 1).build(),
            kind => SparseImage {
                flags: if let Self::Zeroed = kind { 7 } else { 3 },
                version: 2,
                ..SparseImage::extent(CAPACITY)
            }
            .build(),
        };
        MemoryGate::default()
            .with("child.vmdk", text)
            .with("delta", delta)
            .with(
                "base.vmdk",
                descriptor("monolithicFlat", &["RW 1000 FLAT \"base\" 0"]),
            )
            .with("base", vec![0x11; 1000 * SECTOR])
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Write(u8),
    Zero(ZeroMode),
    Trim,
}

fn step() -> impl Strategy<Value = (u64, u64, Change)> {
    let change = prop_oneof![
        4 => any::<u8>().prop_map(Change::Write),
        1 => Just(Change::Zero(ZeroMode::MayFree)),
        1 => Just(Change::Zero(ZeroMode::MustAllocate)),
        2 => Just(Change::Trim),
    ];
    let grains =
        (0_u64..8, 1_u64..4).prop_map(|(first, count)| (first * 128, (first + count) * 128));
    let sectors = (0..CAPACITY, 1_u64..300).prop_map(|(start, count)| (start, start + count));
    (prop_oneof![grains, sectors], change)
        .prop_map(|((start, end), change)| (start, end.min(CAPACITY), change))
}

/// What the child has itself: one value for each sector.
type Model = Vec<Option<u8>>;

fn known(model: &Model, alone: u8) -> Vec<u8> {
    model
        .iter()
        .flat_map(|sector| [sector.unwrap_or(alone); SECTOR])
        .collect()
}

fn index(sector: u64) -> usize {
    usize::try_from(sector).unwrap()
}

/// Whether the change needs what the parent has, and what it makes of the model.
fn apply(kind: Kind, model: &mut Model, start: u64, end: u64, change: Change) -> Result<(), ()> {
    let before = model.clone();
    for first in (0..CAPACITY).step_by(index(kind.grain())) {
        let last = (first + kind.grain()).min(CAPACITY);
        let (from, to) = (start.max(first), end.min(last));
        if from >= to {
            continue;
        }
        let is_whole = (from, to) == (first, last);
        let is_held = before[index(first)].is_some();
        let value = match change {
            Change::Write(value) => value,
            Change::Zero(_) => 0,
            Change::Trim if !is_whole => continue,
            // Only an entry for zeros could hide the parent without space.
            Change::Trim if !is_held && matches!(kind, Kind::Plain) => continue,
            Change::Trim => 0,
        };
        if !is_whole && !is_held {
            return Err(());
        }
        model[index(from)..index(to)].fill(Some(value));
    }
    Ok(())
}

fn run(kind: Kind, steps: &[(u64, u64, Change)]) -> Result<(), TestCaseError> {
    let gate = kind.gate();
    let options = gate.options().single_link(true).writable(true);
    let mut model: Model = vec![None; 1000];
    for part in steps.chunks(3) {
        let disk = Disk::open("child.vmdk", &options).unwrap();
        for (start, end, change) in part {
            let range = SectorRange::between(Sector::new(*start), Sector::new(*end)).unwrap();
            let bytes = index(end - start) * SECTOR;
            let result = match change {
                Change::Write(value) => disk.write_at(range.start(), &vec![*value; bytes]),
                Change::Zero(mode) => disk.write_zeroes(range, *mode),
                Change::Trim => disk.trim(range),
            };
            let mut after = model.clone();
            match (result, apply(kind, &mut after, *start, *end, *change)) {
                (Ok(()), Ok(())) => model = after,
                (Err(error), Err(())) => {
                    prop_assert_eq!(error.kind(), ErrorKind::ParentNotFound);
                    // Each sector holds its old or its new content.
                    let found = content(&disk);
                    let value = if let Change::Write(value) = change {
                        *value
                    } else {
                        0
                    };
                    for sector in *start..*end {
                        let index = index(sector);
                        let byte = found[index * SECTOR];
                        prop_assert!(byte == value || byte == model[index].unwrap_or(0));
                    }
                    // Which of them is for the map to say.
                    for run in disk.extents(range) {
                        let run = run.unwrap();
                        let is_held = run.state != Allocation::Hole;
                        for sector in run.range.start().get()..run.range.end().get() {
                            let index = index(sector);
                            model[index] = is_held.then(|| found[index * SECTOR]);
                        }
                    }
                }
                (result, expected) => {
                    prop_assert!(false, "{change:?} {range}: {result:?}, {expected:?}")
                }
            }
        }
        prop_assert!(content(&disk) == known(&model, 0), "{:?}", part);
        disk.close().unwrap();
        let whole = Disk::open("child.vmdk", &gate.options()).unwrap();
        prop_assert!(content(&whole) == known(&model, 0x11));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_was_written_alone_is_seen_over_the_parent(
        kind in prop_oneof![Just(Kind::Zeroed), Just(Kind::Plain), Just(Kind::Cowd)],
        steps in prop::collection::vec(step(), 1..12),
    ) {
        run(kind, &steps)?;
    }
}

#[test]
fn parts_of_what_the_parent_may_have_are_refused() {
    let gate = Kind::Plain.gate();
    let options = gate.options().single_link(true).writable(true);
    let disk = Disk::open("child.vmdk", &options).unwrap();
    assert_eq!(disk.info().links, 1);
    let error = disk.write_at(Sector::new(5), &[5; SECTOR]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    assert!(
        error
            .to_string()
            .contains("in the parent, which was not to be opened"),
        "{error}"
    );
    disk.write_at(Sector::new(0), &[5; 128 * SECTOR]).unwrap();
    disk.write_at(Sector::new(5), &[6; SECTOR]).unwrap();
    // The last grain is cut by the end of the disk, and whole nevertheless.
    disk.write_at(Sector::new(896), &[7; 104 * SECTOR]).unwrap();
    disk.close().unwrap();
    let whole = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 1000 * SECTOR];
    expected[..128 * SECTOR].fill(5);
    expected[5 * SECTOR..6 * SECTOR].fill(6);
    expected[896 * SECTOR..].fill(7);
    assert!(content(&whole) == expected);
    assert_eq!(whole.capacity(), SectorCount::new(CAPACITY));
}

/// A base has nothing below it, alone or not.
#[test]
fn a_base_is_the_same_alone() {
    let gate = Kind::Plain.gate();
    let options = gate.options().single_link(true).writable(true);
    let disk = Disk::open("base.vmdk", &options).unwrap();
    disk.write_at(Sector::new(5), &[5; SECTOR]).unwrap();
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(1000).build());
    let options = gate.options().single_link(true).writable(true);
    let disk = Disk::open("disk.vmdk", &options).unwrap();
    disk.write_at(Sector::new(5), &[5; SECTOR]).unwrap();
    assert_eq!(content(&disk)[5 * SECTOR], 5);
}
