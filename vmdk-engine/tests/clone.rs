//! Clones: every kind into every other, with one content; and whatever ends one early leaves nothing.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use support::recording::Change;
use support::world::{Event, World};
use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{
    Adapter, CreateOptions, Disk, DiskKind, Error, ErrorKind, Existing, OpenOptions, Progress,
    Sector, SectorCount, unwatched,
};

const KINDS: [DiskKind; 7] = [
    DiskKind::MonolithicSparse,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
    DiskKind::SplitFlat,
    DiskKind::VmfsFlat,
    DiskKind::VmfsThin,
    DiskKind::StreamOptimized,
];

fn options(kind: DiskKind, sectors: u64) -> CreateOptions {
    CreateOptions::new(kind, SectorCount::new(sectors))
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new()).unwrap()
}

fn clone(disk: &Disk, path: &Path, kind: DiskKind) -> Result<(), Error> {
    let options = CreateOptions::new(kind, disk.capacity());
    disk.clone_to(path, &options, Existing::Keep, &mut unwatched)
}

fn part(start: u64, count: u64) -> std::ops::Range<usize> {
    usize::try_from(start * 512).unwrap()..usize::try_from((start + count) * 512).unwrap()
}

/// Makes a disk that is allocated in part, with zeros written on purpose; returns its content.
fn make(path: &Path, kind: DiskKind, sectors: u64, seed: u64) -> Vec<u8> {
    let disk = Disk::create(path, &options(kind, sectors), &mut unwatched).unwrap();
    let mut model = vec![0; part(0, sectors).end];
    let mut numbers = Numbers::new(seed);
    let mut start = 0;
    while start < sectors {
        let count = 128.min(sectors - start);
        let range = part(start, count);
        match numbers.below(6) {
            0 => numbers.fill(&mut model[range.clone()]),
            1 => model[range.start + 100..range.end].fill(3),
            2 => model[range.clone()].fill(0),
            _ => {
                start += 128;
                continue;
            }
        }
        disk.write_at(Sector::new(start), &model[range]).unwrap();
        start += 128;
    }
    disk.close().unwrap();
    model
}

/// Makes a child of `parent`, with changes in some sectors; returns its content.
fn make_child(parent: &Path, path: &Path, mut model: Vec<u8>, seed: u64) -> Vec<u8> {
    open(parent)
        .create_child(path, DiskKind::MonolithicSparse, &mut unwatched)
        .unwrap();
    let child = Disk::open(path, &OpenOptions::new().writable(true)).unwrap();
    let sectors = child.capacity().get();
    let mut numbers = Numbers::new(seed);
    for _ in 0..8 {
        let start = numbers.below(sectors);
        let count = 1 + numbers.below((sectors - start).min(200));
        let range = part(start, count);
        if numbers.below(3) == 0 {
            model[range.clone()].fill(0);
        } else {
            numbers.fill(&mut model[range.clone()]);
        }
        child.write_at(Sector::new(start), &model[range]).unwrap();
    }
    child.close().unwrap();
    model
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The bytes that the files of a disk take.
fn space(folder: &Path) -> u64 {
    let taken = |name: String| {
        let metadata = fs::metadata(folder.join(name)).unwrap();
        metadata.len().min(metadata.blocks() * 512)
    };
    files(folder).into_iter().map(taken).sum()
}

/// Clones into every kind: one content for us and for qemu-img, no more space than was said, and never a thing beside.
fn check_clones(source: &Disk, model: &[u8], with_qemu: bool) {
    let sum = Sha256::digest(model);
    let sectors = source.capacity().get();
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("clone.vmdk");
        clone(source, &path, kind).unwrap();
        let needed = source.space_needed_for_clone(kind).unwrap().get();
        let taken = space(scratch.path());
        assert!(
            taken <= needed,
            "{kind:?} of {sectors}: {taken} of {needed}"
        );
        let copy = open(&path);
        assert_eq!(copy.info().kind, kind);
        assert_eq!(copy.info().links, 1);
        assert_eq!(copy.capacity(), source.capacity());
        assert_eq!(Sha256::digest(content(&copy)), sum, "{kind:?} of {sectors}");
        drop(copy);
        if with_qemu && has_qemu() {
            let raw = scratch.path().join("model.raw");
            fs::write(&raw, model).unwrap();
            run(Command::new("qemu-img")
                .args(["compare", "-f", "vmdk", "-F", "raw"])
                .args([&path, &raw]));
        }
    }
}

#[test]
fn every_kind_becomes_every_other() {
    for (seed, kind) in (0..).zip(KINDS) {
        let sizes = if seed == 0 {
            &[1, 129, 5003][..]
        } else {
            &[129, 2003][..]
        };
        for &sectors in sizes {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("disk.vmdk");
            let model = make(&path, kind, sectors, seed);
            check_clones(&open(&path), &model, sectors > 1000);
        }
    }
}

#[test]
fn chains_become_disks_of_their_own() {
    for (seed, kind) in (10..).zip(KINDS).step_by(2) {
        let scratch = tempfile::tempdir().unwrap();
        let [base, middle, leaf] =
            ["base.vmdk", "middle.vmdk", "leaf.vmdk"].map(|name| scratch.path().join(name));
        let model = make(&base, kind, 5003, seed);
        let model = make_child(&base, &middle, model, seed);
        let model = make_child(&middle, &leaf, model, seed + 100);
        check_clones(&open(&leaf), &model, seed == 10);
    }
}

#[test]
fn a_disk_over_several_tables_and_files_is_cloned() {
    // Three grain tables, and two parts of a split disk; data at the borders only.
    let sectors = 4_192_256 + 70_001;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let disk = Disk::create(
        &path,
        &options(DiskKind::MonolithicSparse, sectors),
        &mut unwatched,
    )
    .unwrap();
    let places = [
        0,
        65_535,
        65_536,
        131_071,
        4_192_255,
        4_192_256,
        sectors - 1,
    ];
    for (byte, place) in (1..).zip(places) {
        disk.write_at(Sector::new(place), &[byte; 512]).unwrap();
    }
    disk.flush().unwrap();
    for kind in [
        DiskKind::SplitSparse,
        DiskKind::VmfsThin,
        DiskKind::StreamOptimized,
    ] {
        let clone_path = scratch.path().join("clone.vmdk");
        clone(&disk, &clone_path, kind).unwrap();
        let copy = open(&clone_path);
        for (byte, place) in (1..).zip(places) {
            let mut around = [0; 3 * 512];
            let start = place.saturating_sub(1).min(sectors - 3);
            copy.read_at(Sector::new(start), &mut around).unwrap();
            let at = usize::try_from(place - start).unwrap() * 512;
            assert_eq!(
                around[at..at + 512],
                [byte; 512],
                "{kind:?}, sector {place}"
            );
        }
        let data: u64 = copy
            .extents(vmdk_engine::SectorRange::whole(copy.capacity()))
            .map(|extent| extent.unwrap())
            .filter(|extent| extent.state == vmdk_engine::Allocation::Data)
            .map(|extent| extent.range.count().get())
            .sum();
        assert!(data <= 7 * 128, "{kind:?}: {data} sectors of data");
        drop(copy);
        vmdk_engine::unlink(&clone_path, &vmdk_engine::FolderGate).unwrap();
    }
}

#[test]
fn the_space_of_a_clone_is_known_exactly_where_it_can_be() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    // Every grain that is allocated holds something.
    let disk = Disk::create(
        &path,
        &options(DiskKind::MonolithicSparse, 200_000),
        &mut unwatched,
    )
    .unwrap();
    for grain in [0, 1, 7, 512, 1000, 1562] {
        disk.write_at(Sector::new(grain * 128), &[1; 512]).unwrap();
    }
    disk.flush().unwrap();
    let needed = |kind| disk.space_needed_for_clone(kind).unwrap().get();
    let whole = 200_000 * 512;
    for kind in [
        DiskKind::MonolithicFlat,
        DiskKind::SplitFlat,
        DiskKind::VmfsFlat,
    ] {
        assert_eq!(needed(kind), whole + 65_536);
    }
    assert_eq!(needed(DiskKind::VmfsThin), 6 * 65_536 + 65_536);
    let sparse = scratch.path().join("sparse");
    fs::create_dir(&sparse).unwrap();
    clone(
        &disk,
        &sparse.join("clone.vmdk"),
        DiskKind::MonolithicSparse,
    )
    .unwrap();
    let length = fs::metadata(sparse.join("clone.vmdk")).unwrap().len();
    assert_eq!(needed(DiskKind::MonolithicSparse), length);
    let split = scratch.path().join("split");
    fs::create_dir(&split).unwrap();
    clone(&disk, &split.join("clone.vmdk"), DiskKind::SplitSparse).unwrap();
    let length = fs::metadata(split.join("clone-s001.vmdk")).unwrap().len();
    assert_eq!(needed(DiskKind::SplitSparse), length + 65_536);
    // Four tables, a directory of a sector, and what stands around them.
    assert_eq!(
        needed(DiskKind::StreamOptimized),
        (128 + 6 * 129 + 4 * 5 + 1 + 4) * 512
    );
    for kind in [DiskKind::VmfsSparse, DiskKind::SeSparse, DiskKind::Custom] {
        let error = disk.space_needed_for_clone(kind).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    // Noise in every grain takes the most that a stream can take.
    let path = scratch.path().join("noise.vmdk");
    let disk = Disk::create(
        &path,
        &options(DiskKind::MonolithicFlat, 128 * 64),
        &mut unwatched,
    )
    .unwrap();
    let mut noise = vec![0; 64 * 65_536];
    Numbers::new(1).fill(&mut noise);
    disk.write_at(Sector::ZERO, &noise).unwrap();
    let stream = scratch.path().join("stream.vmdk");
    clone(&disk, &stream, DiskKind::StreamOptimized).unwrap();
    let needed = disk
        .space_needed_for_clone(DiskKind::StreamOptimized)
        .unwrap();
    assert_eq!(fs::metadata(&stream).unwrap().len(), needed.get());
}

#[test]
fn the_clone_is_a_disk_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let [path, copy] = ["disk.vmdk", "clone.vmdk"].map(|name| scratch.path().join(name));
    make(&path, DiskKind::MonolithicSparse, 30_000, 1);
    let disk = Disk::open(&path, &OpenOptions::new().writable(true)).unwrap();
    for (key, value) in [
        ("toolsVersion", "12345"),
        ("comment", "mine"),
        ("uuid.image", "x"),
        ("fcd.name", "y"),
    ] {
        disk.set_metadata(key, value).unwrap();
    }
    let options = options(DiskKind::SplitSparse, 30_000)
        .adapter(Adapter::Ide)
        .hardware_version(20);
    disk.clone_to(&copy, &options, Existing::Keep, &mut unwatched)
        .unwrap();
    let clone = open(&copy);
    assert_eq!(clone.metadata("toolsVersion").as_deref(), Some("12345"));
    assert_eq!(clone.metadata("comment").as_deref(), Some("mine"));
    assert_eq!(clone.metadata("uuid.image"), None);
    assert_eq!(clone.metadata("fcd.name"), None);
    assert_eq!(clone.metadata("virtualHWVersion").as_deref(), Some("20"));
    assert_eq!(clone.info().adapter, Adapter::Ide);
    assert_eq!(clone.metadata("geometry.heads").as_deref(), Some("16"));
    for key in ["uuid", "longContentID"] {
        assert_ne!(clone.metadata(key), disk.metadata(key));
    }
}

#[test]
fn only_disks_of_the_same_size_and_of_kinds_that_can_be_made() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    make(&path, DiskKind::MonolithicSparse, 1000, 1);
    let disk = open(&path);
    let to = |name: &str, options: &CreateOptions| {
        let path = scratch.path().join(name);
        disk.clone_to(path, options, Existing::Keep, &mut unwatched)
            .unwrap_err()
            .kind()
    };
    assert_eq!(
        to("a.vmdk", &options(DiskKind::MonolithicFlat, 1001)),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        to("a.vmdk", &options(DiskKind::SeSparse, 1000)),
        ErrorKind::Unsupported
    );
    assert_eq!(
        to("no/a.vmdk", &options(DiskKind::MonolithicFlat, 1000)),
        ErrorKind::NotFound
    );
    assert_eq!(
        to("disk.vmdk", &options(DiskKind::MonolithicFlat, 1000)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(files(scratch.path()), ["disk.vmdk"]);
}

#[test]
fn a_disk_is_replaced_with_all_its_files_but_never_the_source() {
    let scratch = tempfile::tempdir().unwrap();
    let [path, old] = ["disk.vmdk", "old.vmdk"].map(|name| scratch.path().join(name));
    let model = make(&path, DiskKind::MonolithicFlat, 1000, 1);
    make(&old, DiskKind::SplitFlat, 77, 2);
    let disk = open(&path);
    let replace = |to: &Path, kind| {
        let options = options(kind, 1000);
        disk.clone_to(to, &options, Existing::Replace, &mut unwatched)
    };
    replace(&old, DiskKind::StreamOptimized).unwrap();
    assert_eq!(
        files(scratch.path()),
        ["disk-flat.vmdk", "disk.vmdk", "old.vmdk"]
    );
    assert!(content(&open(&old)) == model);
    replace(&old, DiskKind::MonolithicFlat).unwrap();
    assert!(content(&open(&old)) == model);
    // None there is fine, too.
    let new = scratch.path().join("new.vmdk");
    replace(&new, DiskKind::MonolithicSparse).unwrap();

    // The source itself, by its name, by another name of it, and by a disk that uses its file.
    let link = scratch.path().join("link.vmdk");
    fs::hard_link(&path, &link).unwrap();
    let other = scratch.path().join("other.vmdk");
    fs::copy(&path, &other).unwrap();
    let before = files(scratch.path());
    for to in [&path, &link, &other] {
        let error = replace(to, DiskKind::MonolithicSparse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert_eq!(files(scratch.path()), before);
    assert!(content(&disk) == model);
    // What is no disk stays.
    let text = scratch.path().join("notes.txt");
    fs::write(&text, "not a disk").unwrap();
    replace(&text, DiskKind::MonolithicSparse).unwrap_err();
    assert_eq!(fs::read(&text).unwrap(), b"not a disk");
}

#[test]
fn a_parent_that_is_missing_stops_the_clone() {
    let scratch = tempfile::tempdir().unwrap();
    let [base, leaf] = ["base.vmdk", "leaf.vmdk"].map(|name| scratch.path().join(name));
    let model = make(&base, DiskKind::MonolithicSparse, 5000, 1);
    make_child(&base, &leaf, model, 2);
    fs::remove_file(&base).unwrap();
    let options = OpenOptions::new().tolerate_missing_parent(true);
    let disk = Disk::open(&leaf, &options).unwrap();
    let error = clone(
        &disk,
        &scratch.path().join("clone.vmdk"),
        DiskKind::MonolithicSparse,
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
    assert_eq!(files(scratch.path()), ["leaf.vmdk"]);
}

#[test]
fn cancelled_at_any_step_nothing_is_left() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    make(&path, DiskKind::MonolithicSparse, 20_000, 1);
    let disk = open(&path);
    let folder = scratch.path().join("clones");
    fs::create_dir(&folder).unwrap();
    for kind in KINDS {
        let options = options(kind, 20_000);
        let mut step = 0;
        loop {
            let mut reports: Vec<Progress> = Vec::new();
            let result = disk.clone_to(
                folder.join("c.vmdk"),
                &options,
                Existing::Keep,
                &mut |progress| {
                    reports.push(progress);
                    if reports.len() > step {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                },
            );
            assert!(reports.is_sorted_by_key(|progress| progress.done));
            match result {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    assert_eq!(files(&folder), [""; 0], "{kind:?}, step {step}");
                }
                Ok(()) => {
                    assert_eq!(reports.last().unwrap().percent(), 100);
                    break;
                }
            }
            step += 1;
        }
        assert!(step >= 10, "{kind:?}: {step} reports");
        vmdk_engine::unlink(folder.join("c.vmdk"), &vmdk_engine::FolderGate).unwrap();
    }
}

#[test]
fn all_is_done_when_the_clone_has_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let [path, copy] = ["disk.vmdk", "clone.vmdk"].map(|name| scratch.path().join(name));
    let model = make(&path, DiskKind::MonolithicFlat, 9000, 1);
    let disk = open(&path);
    // Something at the very end, and nothing there.
    for sectors_of_data in [9000, 5000] {
        let source = scratch.path().join(format!("{sectors_of_data}.vmdk"));
        let options = options(DiskKind::MonolithicSparse, 9000);
        let sparse = Disk::create(&source, &options, &mut unwatched).unwrap();
        let data = &model[..part(0, sectors_of_data).end];
        sparse.write_at(Sector::ZERO, &vec![9; data.len()]).unwrap();
        for kind in KINDS {
            let mut reports: Vec<(u8, bool)> = Vec::new();
            let watcher = &mut |progress: Progress| {
                reports.push((progress.percent(), copy.exists()));
                // Breaking off comes too late then.
                if copy.exists() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let options = CreateOptions::new(kind, disk.capacity());
            sparse
                .clone_to(&copy, &options, Existing::Keep, watcher)
                .unwrap();
            assert!(
                reports
                    .iter()
                    .all(|(percent, is_there)| (*percent == 100) == *is_there),
                "{kind:?}: {reports:?}"
            );
            assert_eq!(reports.last(), Some(&(100, true)), "{kind:?}");
            vmdk_engine::unlink(&copy, &vmdk_engine::FolderGate).unwrap();
        }
    }
}

/// A world with a small source disk, and its content.
fn world() -> (World, Vec<u8>) {
    let world = World::default();
    let options = options(DiskKind::MonolithicSparse, 700).gate(world.gate());
    let disk = Disk::create("disk.vmdk", &options, &mut unwatched).unwrap();
    let mut data = vec![0; 700 * 512];
    Numbers::new(3).fill(&mut data[..300 * 512]);
    data[600 * 512..].fill(9);
    disk.write_at(Sector::ZERO, &data[..300 * 512]).unwrap();
    disk.write_at(Sector::new(600), &data[600 * 512..]).unwrap();
    disk.close().unwrap();
    (world.restarted(), data)
}

fn clone_in(world: &World, kind: DiskKind) -> Result<(), Error> {
    let disk = Disk::open("disk.vmdk", &world.options())?;
    let options = options(kind, 700).gate(world.gate());
    disk.clone_to("c.vmdk", &options, Existing::Keep, &mut unwatched)
}

#[test]
fn a_crash_anywhere_leaves_the_whole_clone_or_none() {
    for kind in KINDS {
        let (world, data) = world();
        clone_in(&world, kind).unwrap();
        let mut whole = 0;
        for events in 0..=world.len() {
            for seed in 0..3 {
                let after = match seed {
                    0 => world.killed(events),
                    _ => world.crashed(events, &mut Numbers::new(seed)),
                };
                let source = Disk::open("disk.vmdk", &after.options()).unwrap();
                assert!(
                    content(&source) == data,
                    "{kind:?}, {events} events: the source"
                );
                drop(source);
                match Disk::open("c.vmdk", &after.options()) {
                    Ok(disk) => {
                        assert!(content(&disk) == data, "{kind:?}, {events} events");
                        whole += 1;
                    }
                    Err(error) => {
                        assert_eq!(
                            error.kind(),
                            ErrorKind::NotFound,
                            "{kind:?}, {events} events"
                        );
                        assert!(events < world.len() || seed > 0);
                        // What is left does not keep the disk from being made again.
                        let _ = vmdk_engine::unlink("c.vmdk", &*after.gate());
                        assert_eq!(after.names(), ["disk.vmdk"], "{kind:?}, {events} events");
                    }
                }
            }
        }
        assert!(whole > 0, "{kind:?}");
    }
}

#[test]
fn whatever_fails_leaves_nothing() {
    for kind in KINDS {
        let (world, _) = world();
        clone_in(&world, kind).unwrap();
        let all = world.len();
        for events in 0..all {
            let (world, _) = self::world();
            world.fail_once_at(events);
            clone_in(&world, kind).expect_err("a change fails");
            assert_eq!(world.names(), ["disk.vmdk"], "{kind:?}, {events} events");
        }
    }
}

/// What happened in a clone that is flushed while it grows, if it worked; one change may fail.
fn large_clone(kind: DiskKind, fail_at: Option<usize>) -> Option<Vec<Event>> {
    const SECTORS: u64 = 20 << 11;
    let world = World::default();
    let source = options(DiskKind::MonolithicFlat, SECTORS).gate(world.gate());
    let disk = Disk::create("disk.vmdk", &source, &mut unwatched).unwrap();
    for start in (0..SECTORS).step_by(2048) {
        disk.write_at(Sector::new(start), &[7; 1 << 20]).unwrap();
    }
    disk.close().unwrap();
    let world = world.restarted();
    let names = world.names();
    let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
    if let Some(number) = fail_at {
        world.fail_once_at(number);
    }
    let clone = options(kind, SECTORS).gate(world.gate());
    let result = disk.clone_to("c.vmdk", &clone, Existing::Keep, &mut unwatched);
    if result.is_err() {
        assert_eq!(world.names(), names, "{kind:?}, {fail_at:?}");
    }
    result.is_ok().then(|| world.events())
}

/// The system tells of a lost write only once, and maybe long before the end.
#[test]
fn a_write_that_is_lost_while_the_clone_grows_is_told() {
    let all = large_clone(DiskKind::MonolithicFlat, None).unwrap();
    let position = |wanted: fn(&Change) -> bool| {
        let is_wanted = |event: &Event| matches!(event, Event::File(_, change) if wanted(change));
        (
            all.iter().position(is_wanted),
            all.iter().rposition(is_wanted),
        )
    };
    let (first_block, last_block) =
        position(|change| matches!(change, Change::Write(_, bytes) if bytes.len() == 1 << 20));
    let flushes: Vec<usize> = (first_block.unwrap()..last_block.unwrap())
        .filter(|number| matches!(all[*number], Event::File(_, Change::Sync)))
        .collect();
    assert!(!flushes.is_empty(), "not flushed meanwhile");
    for number in flushes {
        let done = large_clone(DiskKind::MonolithicFlat, Some(number));
        assert!(done.is_none(), "{number} changes");
    }
}

#[test]
fn damage_of_the_source_stops_the_clone() {
    let scratch = tempfile::tempdir().unwrap();
    let [path, stream] = ["disk.vmdk", "stream.vmdk"].map(|name| scratch.path().join(name));
    make(&path, DiskKind::MonolithicSparse, 20_000, 5);
    clone(&open(&path), &stream, DiskKind::StreamOptimized).unwrap();
    let mut bytes = fs::read(&stream).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xaa);
    fs::write(&stream, bytes).unwrap();
    let damaged = open(&stream);
    let target: PathBuf = scratch.path().join("clone.vmdk");
    let error = clone(&damaged, &target, DiskKind::SplitSparse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(files(scratch.path()), ["disk.vmdk", "stream.vmdk"]);
}
