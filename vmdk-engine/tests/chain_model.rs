//! Chains against a plain vector: children of all kinds on top of each other, each changed at random and reopened.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use support::esx::CowdImage;
use support::image::{SparseImage, child_of, descriptor};
use support::{Numbers, content, range};
use vmdk_engine::{Allocation, Disk, ErrorKind, OpenOptions, SectorRange, ZeroMode};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Flat,
    Sparse { grain: u64 },
    Zeroed { grain: u64 },
    OnDemand,
    Split,
    Cowd { grain: u32 },
}

impl Kind {
    /// The sizes of extents and of their grains.
    fn extents(self, capacity: u64) -> Vec<(u64, u64)> {
        match self {
            Self::Flat => vec![(capacity, 1)],
            Self::Sparse { grain } | Self::Zeroed { grain } => vec![(capacity, grain)],
            Self::OnDemand => vec![(capacity, 128)],
            Self::Cowd { grain } => vec![(capacity, u64::from(grain))],
            Self::Split => {
                let first = capacity / 3 + 1;
                [first, capacity - first]
                    .into_iter()
                    .filter(|sectors| *sectors > 0)
                    .map(|sectors| (sectors, 128))
                    .collect()
            }
        }
    }

    fn has_zeroed_grains(self) -> bool {
        matches!(self, Self::Zeroed { .. } | Self::Cowd { grain: 1 })
    }

    /// Makes the empty link `number` of a chain.
    fn create(self, folder: &Path, number: u32, capacity: u64) {
        let parent = number.checked_sub(1).map(|parent| {
            let text = fs::read(folder.join(format!("{parent}.vmdk"))).unwrap();
            cid(&text)
        });
        let text = |create_type: &str, lines: &[&str]| {
            let text = descriptor(create_type, lines);
            match parent {
                Some(parent) => {
                    child_of(&text, number + 7, parent, &format!("{}.vmdk", number - 1))
                }
                None => text,
            }
        };
        let path = folder.join(format!("{number}.vmdk"));
        let name = format!("{number}-extent");
        let extent = folder.join(&name);
        let plain = SparseImage::monolithic(capacity);
        let line = |kind: &str| format!("RW {capacity} {kind} \"{name}\"");
        let own = text("monolithicSparse", &[&line("SPARSE")]);
        match self {
            Self::Flat => {
                let file = fs::File::create(extent).unwrap();
                file.set_len(capacity * 512).unwrap();
                fs::write(path, text("monolithicFlat", &[&line("FLAT")])).unwrap();
            }
            Self::Sparse { grain } => {
                let image = SparseImage {
                    grain,
                    text: own,
                    ..plain
                };
                fs::write(path, image.build()).unwrap();
            }
            Self::Zeroed { grain } => {
                let image = SparseImage {
                    grain,
                    version: 2,
                    flags: 7,
                    text: own,
                    ..plain
                };
                fs::write(path, image.build()).unwrap();
            }
            Self::OnDemand => {
                let image = SparseImage {
                    preallocated: false,
                    text: own,
                    ..plain
                };
                fs::write(path, image.build()).unwrap();
            }
            Self::Split => {
                let mut lines = Vec::new();
                for (index, (sectors, _)) in self.extents(capacity).into_iter().enumerate() {
                    let name = format!("{name}-{index}");
                    fs::write(folder.join(&name), SparseImage::extent(sectors).build()).unwrap();
                    lines.push(format!("RW {sectors} SPARSE \"{name}\""));
                }
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                fs::write(path, text("twoGbMaxExtentSparse", &lines)).unwrap();
            }
            Self::Cowd { grain } => {
                let image = CowdImage::new(u32::try_from(capacity).unwrap(), grain);
                fs::write(extent, image.build()).unwrap();
                fs::write(path, text("vmfsSparse", &[&line("VMFSSPARSE")])).unwrap();
            }
        }
    }
}

/// The content id in the text of a link.
fn cid(bytes: &[u8]) -> u32 {
    let start = bytes.windows(5).position(|part| part == b"\nCID=").unwrap() + 5;
    let digits = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
    u32::from_str_radix(digits, 16).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Write(Place, u64),
    Zero(Place, ZeroMode),
    Trim(Place),
    Flush,
    Reopen,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    length: u64,
}

impl Place {
    fn on(self, capacity: u64) -> SectorRange {
        let start = self.at % capacity;
        range(start, (start + self.length).min(capacity))
    }
}

fn step() -> impl Strategy<Value = Step> {
    let place = || {
        let length = prop_oneof![1_u64..20, 1_u64..400, 1_u64..4000];
        (any::<u64>(), length).prop_map(|(at, length)| Place { at, length })
    };
    let mode = prop_oneof![
        3 => Just(ZeroMode::MayFree),
        1 => Just(ZeroMode::MustAllocate),
        1 => Just(ZeroMode::FastMayFree),
        1 => Just(ZeroMode::FastMustAllocate),
    ];
    prop_oneof![
        6 => (place(), any::<u64>()).prop_map(|(place, seed)| Step::Write(place, seed)),
        3 => (place(), mode).prop_map(|(place, mode)| Step::Zero(place, mode)),
        2 => place().prop_map(Step::Trim),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Sparse { grain: 128 }),
        Just(Kind::Sparse { grain: 8 }),
        Just(Kind::Zeroed { grain: 128 }),
        Just(Kind::Zeroed { grain: 16 }),
        Just(Kind::OnDemand),
        Just(Kind::Split),
        Just(Kind::Cowd { grain: 1 }),
        Just(Kind::Cowd { grain: 32 }),
    ]
}

fn part(model: &mut [u8], range: SectorRange) -> &mut [u8] {
    let start = usize::try_from(range.start().get() * 512).unwrap();
    let end = usize::try_from(range.end().get() * 512).unwrap();
    &mut model[start..end]
}

/// What trimming does: whole grains become zeros, but for those that show a parent which the format cannot hide.
fn trim_model(disk: &Disk, kind: Kind, trimmed: SectorRange, model: &mut [u8]) {
    let own: Vec<SectorRange> = disk
        .extents(trimmed)
        .map(|extent| extent.unwrap())
        .filter(|extent| extent.depth == 0 || kind.has_zeroed_grains())
        .map(|extent| extent.range)
        .collect();
    let mut base = 0;
    for (size, grain) in kind.extents(disk.capacity().get()) {
        if let Some(shared) = range(base, base + size).intersection(trimmed) {
            let start = (shared.start().get() - base).next_multiple_of(grain);
            let end = shared.end().get() - base;
            let end = if end == size { end } else { end - end % grain };
            if start < end {
                let whole = range(base + start, base + end);
                for zeros in own.iter().filter_map(|own| own.intersection(whole)) {
                    part(model, zeros).fill(0);
                }
            }
        }
        base += size;
    }
}

fn check(disk: &Disk, model: &mut [u8], links: u32) -> Result<(), TestCaseError> {
    prop_assert!(content(disk) == model);
    prop_assert_eq!(disk.info().links, links);
    let mut end = 0;
    let mut last = None;
    for extent in disk.extents(SectorRange::whole(disk.capacity())) {
        let extent = extent.unwrap();
        prop_assert_eq!(extent.range.start().get(), end);
        prop_assert!(extent.depth < links);
        prop_assert_ne!(last, Some((extent.state, extent.depth)));
        last = Some((extent.state, extent.depth));
        end = extent.range.end().get();
        if extent.state != Allocation::Data {
            prop_assert!(part(model, extent.range).iter().all(|byte| *byte == 0));
        }
    }
    prop_assert_eq!(end, disk.capacity().get());
    Ok(())
}

fn run(capacity: u64, links: &[(Kind, Vec<Step>)]) -> Result<(), TestCaseError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut model = vec![0; usize::try_from(capacity * 512).unwrap()];
    let options = OpenOptions::new().writable(true);
    for ((kind, steps), number) in links.iter().zip(0_u32..) {
        kind.create(scratch.path(), number, capacity);
        let path = scratch.path().join(format!("{number}.vmdk"));
        let below = number
            .checked_sub(1)
            .map(|parent| scratch.path().join(format!("{parent}.vmdk")))
            .map(|parent| fs::read(parent).unwrap());
        let mut disk = Disk::open(&path, &options).unwrap();
        check(&disk, &mut model, number + 1)?;
        for step in steps {
            match step {
                Step::Write(place, seed) => {
                    let range = place.on(capacity);
                    let target = part(&mut model, range);
                    Numbers::new(*seed).fill(target);
                    disk.write_at(range.start(), target).unwrap();
                }
                Step::Zero(place, mode) => {
                    let range = place.on(capacity);
                    match disk.write_zeroes(range, *mode) {
                        Ok(()) => part(&mut model, range).fill(0),
                        Err(error) => prop_assert_eq!(error.kind(), ErrorKind::NotFast),
                    }
                }
                Step::Trim(place) => {
                    let range = place.on(capacity);
                    trim_model(&disk, *kind, range, &mut model);
                    disk.trim(range).unwrap();
                }
                Step::Flush => disk.flush().unwrap(),
                Step::Reopen => {
                    disk.close().unwrap();
                    disk = Disk::open(&path, &options).unwrap();
                }
            }
            prop_assert!(content(&disk) == model, "after {step:?}");
        }
        check(&disk, &mut model, number + 1)?;
        disk.close().unwrap();
        let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
        check(&disk, &mut model, number + 1)?;
        if let Some(below) = below {
            let parent = scratch.path().join(format!("{}.vmdk", number - 1));
            prop_assert!(fs::read(parent).unwrap() == below, "a parent was written");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn chains_behave_like_a_vector(
        capacity in prop::sample::select(&[1_u64, 7, 129, 1000, 4096, 5003][..]),
        base in prop_oneof![Just(Kind::Flat), kind()],
        first in prop::collection::vec(step(), 0..8),
        children in prop::collection::vec((kind(), prop::collection::vec(step(), 0..12)), 1..4),
    ) {
        let mut links = vec![(base, first)];
        links.extend(children);
        run(capacity, &links)?;
    }
}
