//! Where sectors lie in a file as they are: what is there is what reading gives.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use support::{Numbers, content};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, ErrorKind, OpenOptions, Sector, SectorCount, SectorRange,
    unwatched,
};

const SECTORS: u64 = 5000;

fn whole() -> SectorRange {
    SectorRange::whole(SectorCount::new(SECTORS))
}

fn range(start: u64, count: u64) -> SectorRange {
    SectorRange::new(Sector::new(start), SectorCount::new(count)).unwrap()
}

/// Writes a few runs of random bytes.
fn scribble(disk: &Disk, seed: u64) {
    let mut numbers = Numbers::new(seed);
    for _ in 0..6 {
        let mut bytes = vec![0; 512 * usize::try_from(1 + numbers.below(300)).unwrap()];
        numbers.fill(&mut bytes);
        disk.write_at(Sector::new(numbers.below(SECTORS - 300)), &bytes)
            .unwrap();
    }
}

fn read_only(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new()).unwrap()
}

/// How many sectors lie in files, each of which is compared with what reading gives.
fn found_in_files(disk: &Disk) -> u64 {
    let model = content(disk);
    let (mut found, mut at) = (0, 0);
    while at < SECTORS {
        let Some(part) = disk.file_range(range(at, SECTORS - at)).unwrap() else {
            at += 1;
            continue;
        };
        assert_eq!(part.range.start(), Sector::new(at));
        let count = part.range.count().get();
        assert!(count > 0 && at + count <= SECTORS);
        let mut bytes = vec![0; usize::try_from(count * 512).unwrap()];
        part.file
            .read_exact_at(&mut bytes, part.position.get())
            .unwrap();
        let start = usize::try_from(at * 512).unwrap();
        assert!(bytes == model[start..][..bytes.len()], "sectors from {at}");
        found += count;
        at += count;
    }
    found
}

fn data(disk: &Disk) -> u64 {
    let extents = disk.extents(whole()).map(Result::unwrap);
    let data = extents.filter(|extent| extent.state == vmdk_engine::Allocation::Data);
    data.map(|extent| extent.range.count().get()).sum()
}

#[test]
fn all_data_that_is_not_compressed_lies_in_a_file() {
    for kind in [
        DiskKind::MonolithicSparse,
        DiskKind::SplitSparse,
        DiskKind::MonolithicFlat,
        DiskKind::SplitFlat,
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        let options = CreateOptions::new(kind, SectorCount::new(SECTORS));
        let disk = Disk::create(&path, &options, &mut unwatched).unwrap();
        scribble(&disk, 5);
        assert!(disk.file_range(whole()).unwrap().is_none(), "it may change");
        disk.close().unwrap();

        let disk = read_only(&path);
        let is_flat = matches!(kind, DiskKind::MonolithicFlat | DiskKind::SplitFlat);
        let expected = if is_flat { SECTORS } else { data(&disk) };
        assert!(expected > 0);
        assert_eq!(found_in_files(&disk), expected, "{kind:?}");
        assert!(disk.file_range(range(7, 0)).unwrap().is_none());
        let error = disk.file_range(range(SECTORS, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);

        let child = scratch.path().join("child.vmdk");
        disk.create_child(&child, DiskKind::MonolithicSparse, &mut unwatched)
            .unwrap();
        drop(disk);
        let writable = OpenOptions::new().writable(true);
        let disk = Disk::open(&child, &writable).unwrap();
        scribble(&disk, 6);
        disk.close().unwrap();
        let disk = read_only(&child);
        assert!(
            found_in_files(&disk) >= data(&disk),
            "{kind:?} with a child"
        );
    }
}

#[test]
fn compressed_grains_and_cut_files_have_to_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    let [sparse, stream] =
        ["sparse", "stream"].map(|name| scratch.path().join(format!("{name}.vmdk")));
    let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(SECTORS));
    let disk = Disk::create(&sparse, &options, &mut unwatched).unwrap();
    scribble(&disk, 7);
    disk.close().unwrap();
    let options = CreateOptions::new(DiskKind::StreamOptimized, SectorCount::new(SECTORS));
    let disk = read_only(&sparse);
    disk.clone_to(
        &stream,
        &options,
        vmdk_engine::Existing::Keep,
        &mut unwatched,
    )
    .unwrap();
    assert_eq!(found_in_files(&read_only(&stream)), 0);

    let all = found_in_files(&disk);
    let file = fs::File::options().write(true).open(&sparse).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 512).unwrap();
    drop(disk);
    let disk = read_only(&sparse);
    let mut left = 0;
    for sector in 0..SECTORS {
        left += u64::from(disk.file_range(range(sector, 1)).unwrap().is_some());
    }
    assert_eq!(left, all - 1);
}
