//! Random reads, writes, zeros, trims and reopenings of every writable kind, against a plain vector of bytes.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use support::image::{GRAIN, SparseImage, descriptor};
use support::{Numbers, content, range};
use vmdk_engine::{Allocation, Disk, ErrorKind, OpenOptions, Sector, SectorRange, ZeroMode};

/// How the extents of a disk are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Sparse,
    /// With a table entry for zeroed grains.
    Zeroed,
    /// Tables are made when they are needed.
    OnDemand,
    OnDemandSingle,
    SplitSparse,
    Flat,
    SplitFlat,
    Mixed,
}

/// What an extent does with a trim.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trims {
    WholeGrains,
    Everything,
}

/// A disk in a folder, and how its sectors are divided.
struct Built {
    path: PathBuf,
    extents: Vec<(u64, Trims)>,
}

fn build(folder: &Path, layout: Layout, capacity: u64) -> Built {
    let path = folder.join("disk.vmdk");
    let thirds = [
        capacity.div_ceil(3),
        capacity / 3,
        capacity - capacity.div_ceil(3) - capacity / 3,
    ];
    let monolithic = |image: SparseImage| {
        fs::write(&path, image.build()).unwrap();
        vec![(capacity, Trims::WholeGrains)]
    };
    let flat_file = |name: &str, sectors: u64| {
        fs::File::create(folder.join(name))
            .unwrap()
            .set_len(sectors * 512)
            .unwrap();
    };
    let extents = match layout {
        Layout::Sparse => monolithic(SparseImage::monolithic(capacity)),
        Layout::Zeroed => monolithic(SparseImage {
            version: 2,
            flags: 7,
            ..SparseImage::monolithic(capacity)
        }),
        Layout::OnDemand => monolithic(SparseImage {
            preallocated: false,
            ..SparseImage::monolithic(capacity)
        }),
        Layout::OnDemandSingle => monolithic(SparseImage {
            preallocated: false,
            flags: 1,
            ..SparseImage::monolithic(capacity)
        }),
        Layout::SplitSparse => {
            let mut lines = Vec::new();
            for (number, sectors) in thirds.into_iter().enumerate() {
                let name = format!("disk-s{:03}.vmdk", number + 1);
                if sectors > 0 {
                    fs::write(folder.join(&name), SparseImage::extent(sectors).build()).unwrap();
                    lines.push(format!("RW {sectors} SPARSE \"{name}\""));
                }
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            fs::write(&path, descriptor("twoGbMaxExtentSparse", &lines)).unwrap();
            thirds.map(|sectors| (sectors, Trims::WholeGrains)).to_vec()
        }
        Layout::Flat => {
            flat_file("disk-flat.vmdk", capacity);
            let line = format!("RW {capacity} FLAT \"disk-flat.vmdk\" 0");
            fs::write(&path, descriptor("monolithicFlat", &[&line])).unwrap();
            vec![(capacity, Trims::Everything)]
        }
        Layout::SplitFlat => {
            let mut lines = Vec::new();
            for (number, sectors) in thirds.into_iter().enumerate() {
                // At odd offsets, with bytes behind the end that do not belong to the disk.
                let offset = u64::try_from(number).unwrap() * 3;
                let name = format!("disk-f{:03}.vmdk", number + 1);
                flat_file(&name, offset + sectors + 5);
                lines.push(format!("RW {sectors} FLAT \"{name}\" {offset}"));
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            fs::write(&path, descriptor("twoGbMaxExtentFlat", &lines)).unwrap();
            thirds.map(|sectors| (sectors, Trims::Everything)).to_vec()
        }
        Layout::Mixed => {
            let [first, second, third] = thirds;
            flat_file("disk-flat.vmdk", first);
            if second > 0 {
                fs::write(
                    folder.join("disk-s.vmdk"),
                    SparseImage::extent(second).build(),
                )
                .unwrap();
            }
            flat_file("disk-vmfs.vmdk", third);
            let lines = [
                format!("RW {first} FLAT \"disk-flat.vmdk\""),
                format!("RW {second} SPARSE \"disk-s.vmdk\""),
                format!("RW {third} VMFS \"disk-vmfs.vmdk\""),
            ];
            let lines: Vec<&str> = lines
                .iter()
                .map(String::as_str)
                .filter(|line| !line.starts_with("RW 0"))
                .collect();
            fs::write(&path, descriptor("custom", &lines)).unwrap();
            vec![
                (first, Trims::Everything),
                (second, Trims::WholeGrains),
                (third, Trims::Everything),
            ]
        }
    };
    Built { path, extents }
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        at: f64,
        length: f64,
        seed: u64,
    },
    Zero {
        at: f64,
        length: f64,
        mode: ZeroMode,
    },
    Trim {
        at: f64,
        length: f64,
    },
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0.0..1.0, prop_oneof![Just(0.0), 0.0..0.02, 0.0..1.0]);
    let mode = prop_oneof![
        Just(ZeroMode::MayFree),
        Just(ZeroMode::MustAllocate),
        Just(ZeroMode::FastMayFree),
        Just(ZeroMode::FastMustAllocate)
    ];
    prop_oneof![
        6 => (place(), any::<u64>()).prop_map(|((at, length), seed)| Step::Write { at, length, seed }),
        3 => (place(), mode).prop_map(|((at, length), mode)| Step::Zero { at, length, mode }),
        2 => place().prop_map(|(at, length)| Step::Trim { at, length }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "fractions of small capacities"
)]
fn place(capacity: u64, at: f64, length: f64) -> SectorRange {
    let start = ((capacity as f64) * at) as u64;
    let room = capacity - start;
    let count = (((room as f64) * length) as u64).max(1);
    range(start, start + count)
}

fn part(model: &mut [u8], range: SectorRange) -> &mut [u8] {
    let start = usize::try_from(range.start().get() * 512).unwrap();
    let end = usize::try_from(range.end().get() * 512).unwrap();
    &mut model[start..end]
}

fn trim_model(model: &mut [u8], trimmed: SectorRange, extents: &[(u64, Trims)]) {
    let mut base = 0;
    for (size, trims) in extents {
        let own = range(base, base + size);
        if let Some(shared) = own.intersection(trimmed) {
            let start = shared.start().get() - base;
            let end = shared.end().get() - base;
            let (start, end) = match trims {
                Trims::Everything => (start, end),
                Trims::WholeGrains if end == *size => (start.next_multiple_of(GRAIN), end),
                Trims::WholeGrains => (start.next_multiple_of(GRAIN), end - end % GRAIN),
            };
            if start < end {
                part(model, range(base + start, base + end)).fill(0);
            }
        }
        base += size;
    }
}

/// The map covers the disk, differs between neighbours, and calls nothing a hole that holds data.
fn check_map(disk: &Disk, model: &mut [u8]) -> TestCaseResult {
    let mut end = 0;
    let mut last = None;
    for extent in disk.extents(SectorRange::whole(disk.capacity())) {
        let extent = extent.unwrap();
        prop_assert_eq!(extent.range.start().get(), end);
        prop_assert_ne!(last, Some(extent.state));
        end = extent.range.end().get();
        last = Some(extent.state);
        if extent.state != Allocation::Data {
            prop_assert!(part(model, extent.range).iter().all(|byte| *byte == 0));
        }
    }
    prop_assert_eq!(end, disk.capacity().get());
    Ok(())
}

fn run_steps(layout: Layout, capacity: u64, steps: &[Step]) -> TestCaseResult {
    let scratch = tempfile::tempdir().unwrap();
    let built = build(scratch.path(), layout, capacity);
    let options = OpenOptions::new().writable(true);
    let mut disk = Disk::open(&built.path, &options).unwrap();
    prop_assert_eq!(disk.capacity().get(), capacity);
    let mut model = vec![0; usize::try_from(capacity * 512).unwrap()];
    for step in steps {
        match *step {
            Step::Write { at, length, seed } => {
                let range = place(capacity, at, length);
                let target = part(&mut model, range);
                Numbers::new(seed).fill(target);
                disk.write_at(range.start(), target).unwrap();
            }
            Step::Zero { at, length, mode } => {
                let range = place(capacity, at, length);
                match disk.write_zeroes(range, mode) {
                    Ok(()) => {
                        part(&mut model, range).fill(0);
                        if matches!(mode, ZeroMode::MustAllocate | ZeroMode::FastMustAllocate)
                            && !matches!(layout, Layout::Flat | Layout::SplitFlat | Layout::Mixed)
                        {
                            let states: Vec<_> = disk
                                .extents(range)
                                .map(|extent| extent.unwrap().state)
                                .collect();
                            prop_assert_eq!(states, [Allocation::Data]);
                        }
                    }
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::NotFast),
                }
            }
            Step::Trim { at, length } => {
                let range = place(capacity, at, length);
                disk.trim(range).unwrap();
                trim_model(&mut model, range, &built.extents);
            }
            Step::Flush => disk.flush().unwrap(),
            Step::Reopen => {
                disk.close().unwrap();
                disk = Disk::open(&built.path, &options).unwrap();
            }
        }
        // A window around a random place, not aligned to anything.
        let probe = place(capacity, 0.37, 0.1);
        let mut buffer = vec![0xee; usize::try_from(probe.bytes().unwrap().get()).unwrap()];
        disk.read_at(probe.start(), &mut buffer).unwrap();
        prop_assert!(buffer == part(&mut model, probe), "after {step:?}");
    }
    prop_assert!(content(&disk) == model, "before closing");
    check_map(&disk, &mut model)?;
    disk.close().unwrap();
    let disk = Disk::open(&built.path, &OpenOptions::new()).unwrap();
    prop_assert!(content(&disk) == model, "after closing");
    check_map(&disk, &mut model)?;
    Ok(())
}

const LAYOUTS: [Layout; 8] = [
    Layout::Sparse,
    Layout::Zeroed,
    Layout::OnDemand,
    Layout::OnDemandSingle,
    Layout::SplitSparse,
    Layout::Flat,
    Layout::SplitFlat,
    Layout::Mixed,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn small_disks_behave_like_a_vector(
        layout in prop::sample::select(&LAYOUTS[..]),
        capacity in prop::sample::select(&[1_u64, 3, 127, 128, 129, 1000, 2047, 4096][..]),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        run_steps(layout, capacity, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Three grain tables, the last one with a cut grain.
    #[test]
    fn disks_with_several_tables_behave_like_a_vector(
        layout in prop::sample::select(&LAYOUTS[..5]),
        steps in prop::collection::vec(step(), 1..10),
    ) {
        run_steps(layout, 2 * 65536 + 300, &steps)?;
    }
}

#[test]
fn requests_are_checked() {
    let scratch = tempfile::tempdir().unwrap();
    let built = build(scratch.path(), Layout::Sparse, 1000);
    let disk = Disk::open(&built.path, &OpenOptions::new().writable(true)).unwrap();
    let kind = |result: Result<(), vmdk_engine::Error>| result.unwrap_err().kind();
    let end = Sector::new(1000);
    assert_eq!(
        kind(disk.read_at(end, &mut [0; 512])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(999), &[0; 1024])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(u64::MAX), &[0; 512])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(disk.write_at(Sector::ZERO, &[0; 100])),
        ErrorKind::InvalidArgument
    );
    assert_eq!(kind(disk.trim(range(0, 1001))), ErrorKind::OutOfRange);
    let error = disk
        .write_zeroes(range(5, 1001), ZeroMode::MayFree)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "writing zeros to sectors 5..1001 failed: {}: the disk ends at sector 1000",
            built.path.display()
        )
    );
    let mut extents = disk.extents(range(0, 1001));
    assert_eq!(
        extents.next().unwrap().unwrap_err().kind(),
        ErrorKind::OutOfRange
    );
    assert!(extents.next().is_none());
    drop(extents);
    disk.read_at(end, &mut []).unwrap();
    assert_eq!(disk.extents(range(7, 7)).count(), 0);
    drop(disk);

    let disk = Disk::open(&built.path, &OpenOptions::new()).unwrap();
    assert_eq!(
        kind(disk.write_at(Sector::ZERO, &[1; 512])),
        ErrorKind::ReadOnly
    );
    assert_eq!(kind(disk.trim(range(0, 1))), ErrorKind::ReadOnly);
    disk.flush().unwrap();
}

#[test]
fn extents_keep_to_their_access_word() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    for name in ["a", "b"] {
        fs::write(scratch.path().join(name), [7; 8 * 512]).unwrap();
    }
    let lines = [
        "RW 8 FLAT \"a\" 0",
        "RW 8 ZERO",
        "RDONLY 8 FLAT \"b\" 0",
        "NOACCESS 8 FLAT \"gone\" 0",
    ];
    fs::write(&path, descriptor("custom", &lines)).unwrap();
    let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
    let mut buffer = [1; 24 * 512];
    disk.read_at(Sector::ZERO, &mut buffer).unwrap();
    assert_eq!(buffer[..8 * 512], [7; 8 * 512]);
    assert_eq!(buffer[8 * 512..16 * 512], [0; 8 * 512]);
    assert_eq!(buffer[16 * 512..], [7; 8 * 512]);
    let kind = |result: Result<(), vmdk_engine::Error>| result.unwrap_err().kind();
    assert_eq!(
        kind(disk.read_at(Sector::new(23), &mut [0; 1024])),
        ErrorKind::Unsupported
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(24), &[0; 512])),
        ErrorKind::Unsupported
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(15), &[0; 1024])),
        ErrorKind::ReadOnly
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(8), &[1; 512])),
        ErrorKind::ReadOnly
    );
    disk.write_at(Sector::new(7), &[0; 1024]).unwrap();
    disk.write_zeroes(range(0, 16), ZeroMode::MayFree).unwrap();
    let states: Vec<_> = disk
        .extents(range(8, 32))
        .map(|extent| extent.unwrap().state)
        .collect();
    assert_eq!(
        states,
        [Allocation::Zero, Allocation::Data, Allocation::Hole]
    );
}
