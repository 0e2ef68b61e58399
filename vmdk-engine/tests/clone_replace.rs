//! Clones in the place of other disks: what was there stays until it may go, and nothing of the source ever goes.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::world::World;
use support::{Numbers, content};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, Error, ErrorKind, Existing, OpenOptions, Progress, Sector,
    SectorCount, unwatched,
};

const SECTORS: u64 = 5003;

/// Kinds in one file, and kinds in several.
const KINDS: [DiskKind; 4] = [
    DiskKind::MonolithicSparse,
    DiskKind::StreamOptimized,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
];

fn options(kind: DiskKind) -> CreateOptions {
    CreateOptions::new(kind, SectorCount::new(SECTORS))
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new()).unwrap()
}

fn make(path: &Path, kind: DiskKind, seed: u64) -> Vec<u8> {
    let disk = Disk::create(path, &options(kind), &mut unwatched).unwrap();
    let mut model = vec![0; usize::try_from(SECTORS * 512).unwrap()];
    Numbers::new(seed).fill(&mut model);
    disk.write_at(Sector::ZERO, &model).unwrap();
    disk.close().unwrap();
    model
}

fn replace(source: &Disk, path: &Path, options: &CreateOptions) -> Result<(), Error> {
    source.clone_to(path, options, Existing::Replace, &mut unwatched)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

struct Pair {
    scratch: tempfile::TempDir,
    source: Disk,
    model: Vec<u8>,
    old: PathBuf,
    old_model: Vec<u8>,
}

impl Pair {
    fn new(old_kind: DiskKind) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let [path, old] = ["disk.vmdk", "old.vmdk"].map(|name| scratch.path().join(name));
        let model = make(&path, DiskKind::MonolithicFlat, 1);
        let old_model = make(&old, old_kind, 2);
        Self {
            source: open(&path),
            scratch,
            model,
            old,
            old_model,
        }
    }

    fn files(&self) -> Vec<String> {
        files(self.scratch.path())
    }
}

#[test]
fn every_kind_takes_the_place_of_every_other() {
    for old_kind in KINDS {
        for kind in KINDS {
            let pair = Pair::new(old_kind);
            replace(&pair.source, &pair.old, &options(kind)).unwrap();
            let copy = open(&pair.old);
            assert_eq!(copy.info().kind, kind);
            assert!(content(&copy) == pair.model, "{old_kind:?} by {kind:?}");
            drop(copy);
            vmdk_engine::unlink(&pair.old, &vmdk_engine::FolderGate).unwrap();
            assert_eq!(
                pair.files(),
                ["disk-flat.vmdk", "disk.vmdk"],
                "{old_kind:?} by {kind:?}"
            );
        }
    }
}

#[test]
fn a_clone_that_cannot_be_leaves_the_old_disk() {
    for old_kind in KINDS {
        let pair = Pair::new(old_kind);
        let before = pair.files();
        let cannot_be = [
            options(DiskKind::SeSparse),
            options(DiskKind::MonolithicSparse).sector_sizes(7, 9),
            CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(SECTORS + 1)),
        ];
        for options in &cannot_be {
            replace(&pair.source, &pair.old, options).unwrap_err();
            assert_eq!(pair.files(), before, "{options:?}");
            assert!(content(&open(&pair.old)) == pair.old_model);
        }
    }
}

#[test]
fn cancelled_at_once_the_old_disk_stays_and_clones_in_one_file_keep_it_to_the_end() {
    for old_kind in KINDS {
        for kind in KINDS {
            let pair = Pair::new(old_kind);
            let before = pair.files();
            let in_one_file =
                matches!(kind, DiskKind::MonolithicSparse | DiskKind::StreamOptimized);
            let mut steps = 1;
            loop {
                let mut reports = 0;
                let result = pair.source.clone_to(
                    &pair.old,
                    &options(kind),
                    Existing::Replace,
                    &mut |_: Progress| {
                        reports += 1;
                        if reports == steps {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    },
                );
                let Err(error) = result else { break };
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                if steps == 1 || in_one_file {
                    assert_eq!(pair.files(), before, "{old_kind:?} by {kind:?}, {steps}");
                    assert!(content(&open(&pair.old)) == pair.old_model);
                }
                steps += 1;
            }
            assert!(steps > 3);
            assert!(content(&open(&pair.old)) == pair.model);
        }
    }
}

#[test]
fn a_disk_that_cannot_be_opened_takes_nothing_of_the_source_with_it() {
    let pair = Pair::new(DiskKind::MonolithicSparse);
    // It names the file of the source, and one that is not there.
    let other = pair.scratch.path().join("other.vmdk");
    let text = fs::read_to_string(pair.scratch.path().join("disk.vmdk")).unwrap();
    let line = "RW 5003 FLAT \"disk-flat.vmdk\" 0";
    assert!(text.contains(line), "{text}");
    let text = text.replace(line, &format!("{line}\nRW 9 FLAT \"missing.vmdk\" 0"));
    fs::write(&other, text).unwrap();
    Disk::open(&other, &OpenOptions::new()).unwrap_err();
    let before = pair.files();
    for kind in KINDS {
        let error = replace(&pair.source, &other, &options(kind)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(pair.files(), before);
        assert!(content(&pair.source) == pair.model);
    }
}

#[test]
fn a_link_to_a_disk_is_not_a_disk_to_be_replaced() {
    let pair = Pair::new(DiskKind::MonolithicSparse);
    let link = pair.scratch.path().join("link.vmdk");
    symlink("old.vmdk", &link).unwrap();
    let before = pair.files();
    for kind in KINDS {
        let error = replace(&pair.source, &link, &options(kind)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{kind:?}: {error}");
        assert_eq!(pair.files(), before);
        assert!(content(&open(&pair.old)) == pair.old_model);
    }
}

#[test]
fn an_old_disk_in_use_stays() {
    for kind in KINDS {
        let pair = Pair::new(DiskKind::MonolithicSparse);
        let before = pair.files();
        let writer = Disk::open(&pair.old, &OpenOptions::new().writable(true)).unwrap();
        let error = replace(&pair.source, &pair.old, &options(kind)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
        assert!(content(&writer) == pair.old_model);
        drop(writer);
        assert_eq!(pair.files(), before);
    }
}

/// A world with a source disk and one to be replaced.
fn world(old_kind: DiskKind) -> World {
    let world = World::default();
    for (name, kind, byte) in [
        ("disk.vmdk", DiskKind::MonolithicSparse, 1),
        ("c.vmdk", old_kind, 2),
    ] {
        let options = CreateOptions::new(kind, SectorCount::new(300)).gate(world.gate());
        let disk = Disk::create(name, &options, &mut unwatched).unwrap();
        disk.write_at(Sector::ZERO, &[byte; 300 * 512]).unwrap();
        disk.close().unwrap();
    }
    world.restarted()
}

fn replace_in(world: &World, kind: DiskKind) -> Result<(), Error> {
    let disk = Disk::open("disk.vmdk", &world.options())?;
    let options = CreateOptions::new(kind, SectorCount::new(300)).gate(world.gate());
    disk.clone_to("c.vmdk", &options, Existing::Replace, &mut unwatched)
}

#[test]
fn after_a_crash_anywhere_there_is_the_old_disk_the_new_one_or_none_and_trying_again_succeeds() {
    for old_kind in KINDS {
        for kind in KINDS {
            let world = world(old_kind);
            replace_in(&world, kind).unwrap();
            for events in 0..=world.len() {
                for seed in 0..2 {
                    let case = format!("{old_kind:?} by {kind:?}, {events} events, {seed}");
                    let after = match seed {
                        0 => world.killed(events),
                        _ => world.crashed(events, &mut Numbers::new(seed)),
                    };
                    let in_one_file = |kind| {
                        matches!(kind, DiskKind::MonolithicSparse | DiskKind::StreamOptimized)
                    };
                    match Disk::open("c.vmdk", &after.options()) {
                        Ok(disk) => {
                            let bytes = content(&disk);
                            assert!(bytes == [1; 300 * 512] || bytes == [2; 300 * 512], "{case}");
                        }
                        Err(_) => assert!(!in_one_file(kind) || !in_one_file(old_kind), "{case}"),
                    }
                    let result = replace_in(&after, kind);
                    assert!(result.is_ok(), "{case}: {result:?} {:?}", after.names());
                    let disk = Disk::open("c.vmdk", &after.options()).unwrap();
                    assert!(content(&disk) == [1; 300 * 512], "{case}");
                    drop(disk);
                    vmdk_engine::unlink("c.vmdk", &*after.gate()).unwrap();
                    let mut names = after.names();
                    if in_one_file(kind) {
                        // Files of the old disk may stay: the new one takes its place before they go.
                        names.retain(|name| !name.starts_with("c-"));
                    }
                    assert_eq!(names, ["disk.vmdk"], "{case}");
                }
            }
        }
    }
}
