//! Committing children of all kinds into parents of all kinds.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::esx::CowdImage;
use support::image::{SparseImage, child_of, descriptor};
use support::world::World;
use support::{Numbers, content, has_qemu, range, run};
use vmdk_engine::{
    AfterCommit, Allocation, CommitOptions, Disk, Error, ErrorKind, OpenOptions, Progress, Sector,
    ZeroMode, commit, unwatched,
};

const SECTORS: u64 = 900;

fn sectors(count: u64) -> usize {
    usize::try_from(count).unwrap() * 512
}

fn cid(world: &World, name: &str) -> u32 {
    let bytes = world.bytes(name);
    let start = bytes.windows(5).position(|part| part == b"\nCID=").unwrap() + 5;
    let digits = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
    u32::from_str_radix(digits, 16).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flat,
    Sparse { grain: u64, zeroed: bool },
    Split,
    Cowd,
}

const KINDS: [Kind; 5] = [
    Kind::Sparse {
        grain: 16,
        zeroed: false,
    },
    Kind::Sparse {
        grain: 128,
        zeroed: true,
    },
    Kind::Split,
    Kind::Cowd,
    Kind::Flat,
];

/// Adds a disk with the content id `cid` to a folder, a child of `parent` if there is one.
fn with_disk(world: World, name: &str, kind: Kind, cid: u32, parent: Option<(&str, u32)>) -> World {
    let named = |text: String| match parent {
        Some((parent, id)) => child_of(&text, cid, id, parent),
        None => text.replace("CID=1f2e3d4c", &format!("CID={cid:08x}")),
    };
    let extent = |number: u32| format!("{name}-{number}");
    let line = |kind: &str, sectors: u64, number: u32| {
        format!("RW {sectors} {kind} \"{}\"", extent(number))
    };
    match kind {
        Kind::Flat => world
            .with(
                name,
                named(descriptor("monolithicFlat", &[&line("FLAT", SECTORS, 1)])),
            )
            .with(&extent(1), vec![0; sectors(SECTORS)]),
        Kind::Sparse { grain, zeroed } => {
            let plain = SparseImage::monolithic(SECTORS);
            let image = SparseImage {
                grain,
                version: if zeroed { 2 } else { 1 },
                flags: if zeroed { 7 } else { 3 },
                text: named(plain.text.clone()),
                ..plain
            };
            world.with(name, image.build())
        }
        Kind::Split => {
            let (one, two) = (line("SPARSE", 333, 1), line("SPARSE", SECTORS - 333, 2));
            let text = descriptor("twoGbMaxExtentSparse", &[&one, &two]);
            world
                .with(name, named(text))
                .with(&extent(1), SparseImage::extent(333).build())
                .with(&extent(2), SparseImage::extent(SECTORS - 333).build())
        }
        Kind::Cowd => {
            let text = descriptor("vmfsSparse", &[&line("VMFSSPARSE", SECTORS, 1)]);
            let image = CowdImage::new(u32::try_from(SECTORS).unwrap(), 1);
            world
                .with(name, named(text))
                .with(&extent(1), image.build())
        }
    }
}

/// Random writes and zeros.
fn change(world: &World, name: &str, numbers: &mut Numbers) -> Vec<u8> {
    let disk = Disk::open(name, &world.options().writable(true)).unwrap();
    for _ in 0..8 {
        let start = numbers.below(SECTORS);
        let count = 1 + numbers.below((SECTORS - start).min(300));
        if numbers.below(4) == 0 {
            let mode = [ZeroMode::MayFree, ZeroMode::MustAllocate];
            let mode = mode[usize::try_from(numbers.below(2)).unwrap()];
            disk.write_zeroes(range(start, start + count), mode)
                .unwrap();
        } else {
            let mut bytes = vec![0; sectors(count)];
            numbers.fill(&mut bytes);
            disk.write_at(Sector::new(start), &bytes).unwrap();
        }
    }
    let after = content(&disk);
    disk.close().unwrap();
    after
}

/// `base` with random content, and a changed child; and what the child reads as.
fn pair(base: Kind, child: Kind, numbers: &mut Numbers) -> (World, Vec<u8>) {
    let world = with_disk(World::default(), "base", base, 1, None);
    change(&world, "base", numbers);
    let id = cid(&world, "base");
    let world = with_disk(world.restarted(), "child", child, 7, Some(("base", id)));
    let expected = change(&world, "child", numbers);
    (world.restarted(), expected)
}

fn options(world: &World, afterwards: AfterCommit) -> CommitOptions {
    CommitOptions::new()
        .gate(world.gate())
        .afterwards(afterwards)
}

fn read(world: &World, name: &str) -> Result<Vec<u8>, Error> {
    Disk::open(name, &world.options()).map(|disk| content(&disk))
}

#[test]
fn any_child_goes_into_any_parent() {
    let mut numbers = Numbers::new(1);
    for base in KINDS {
        for child in &KINDS[..4] {
            for afterwards in [
                AfterCommit::RemoveChild,
                AfterCommit::EmptyChild,
                AfterCommit::KeepChild,
            ] {
                let what = format!("{child:?} into {base:?}, {afterwards:?}");
                let (world, expected) = pair(base, *child, &mut numbers);
                let before = cid(&world, "base");
                let options = options(&world, afterwards);
                let parent = commit("child", &options, &mut unwatched).unwrap();
                assert_eq!(parent, Path::new("base"));
                assert_ne!(cid(&world, "base"), before, "{what}");
                assert!(read(&world, "base").unwrap() == expected, "{what}");
                let left: Vec<String> = world.names();
                if afterwards == AfterCommit::RemoveChild {
                    assert!(
                        left.iter().all(|name| !name.starts_with("child")),
                        "{left:?}"
                    );
                    continue;
                }
                let disk = Disk::open("child", &world.options().writable(true)).unwrap();
                assert!(content(&disk) == expected, "{what}");
                if afterwards == AfterCommit::EmptyChild {
                    let own = disk
                        .extents(range(0, SECTORS))
                        .any(|extent| extent.unwrap().depth == 0);
                    assert!(!own, "{what}");
                }
            }
        }
    }
}

/// What is emptied takes no more space than a new disk.
#[test]
fn an_emptied_child_is_as_small_as_a_new_one() {
    let kind = KINDS[0];
    let (world, _) = pair(kind, kind, &mut Numbers::new(2));
    let new = with_disk(World::default(), "child", kind, 7, Some(("base", 1)));
    assert!(world.bytes("child").len() > new.bytes("child").len());
    let options = options(&world, AfterCommit::EmptyChild);
    commit("child", &options, &mut unwatched).unwrap();
    assert_eq!(world.bytes("child").len(), new.bytes("child").len());
}

#[test]
fn a_leaf_goes_down_link_by_link_and_siblings_do_not_fit_any_more() {
    let mut numbers = Numbers::new(3);
    let (world, _) = pair(KINDS[0], KINDS[2], &mut numbers);
    let id = cid(&world, "child");
    let base = cid(&world, "base");
    let world = with_disk(world, "leaf", KINDS[1], 9, Some(("child", id)));
    let world = with_disk(world, "sibling", KINDS[1], 10, Some(("base", base)));
    let expected = change(&world, "leaf", &mut numbers);
    let options = options(&world, AfterCommit::RemoveChild);
    let middle = commit("leaf", &options, &mut unwatched).unwrap();
    assert!(read(&world, "child").unwrap() == expected);
    assert_eq!(cid(&world, "base"), base, "the base has not changed yet");
    let end = commit(middle, &options, &mut unwatched).unwrap();
    assert_eq!(end, Path::new("base"));
    assert!(read(&world, "base").unwrap() == expected);
    let error = read(&world, "sibling").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CidMismatch);
    assert_eq!(world.names(), ["base", "sibling"]);
}

#[test]
fn what_cannot_be_committed_is_refused_and_unchanged() {
    let mut numbers = Numbers::new(4);
    let kind = |world: &World, name: &str| {
        let options = options(world, AfterCommit::RemoveChild);
        let error = commit(name, &options, &mut unwatched).unwrap_err();
        assert!(
            error.to_string().starts_with("committing failed: "),
            "{error}"
        );
        error.kind()
    };
    let (world, _) = pair(KINDS[0], KINDS[1], &mut numbers);
    let all = |world: &World| -> Vec<Vec<u8>> {
        world.names().iter().map(|name| world.bytes(name)).collect()
    };
    let before = all(&world);
    assert_eq!(kind(&world, "base"), ErrorKind::NotAChild);
    assert_eq!(kind(&world, "nothing"), ErrorKind::NotFound);
    assert!(all(&world) == before);

    // In use.
    for name in ["base", "child"] {
        let _open = Disk::open(name, &world.options().writable(true).single_link(true)).unwrap();
        assert_eq!(kind(&world, "child"), ErrorKind::AlreadyLocked, "{name}");
    }

    // Changed behind the child's back, which is not an interrupted commit.
    change(&world, "base", &mut numbers);
    let before = world.bytes("base");
    assert_eq!(kind(&world, "child"), ErrorKind::CidMismatch);
    assert!(world.bytes("base") == before);

    // A parent that cannot be written: it says so before anything changes.
    let text = descriptor(
        "monolithicFlat",
        &[&format!("RDONLY {SECTORS} FLAT \"flat\"")],
    );
    let world = with_disk(
        World::default()
            .with("base", text)
            .with("flat", vec![1; sectors(SECTORS)]),
        "child",
        KINDS[0],
        7,
        Some(("base", 0x1f2e_3d4c)),
    );
    change(&world, "child", &mut numbers);
    let before = all(&world);
    assert_eq!(kind(&world, "child"), ErrorKind::ReadOnly);
    assert!(all(&world) == before);
}

#[test]
fn a_cancelled_commit_leaves_a_chain_and_can_be_run_again() {
    let mut numbers = Numbers::new(5);
    for after in 0.. {
        let (world, expected) = pair(KINDS[0], KINDS[2], &mut numbers);
        let base = cid(&world, "base");
        let mut reports: Vec<Progress> = Vec::new();
        let mut watcher = |progress: Progress| {
            reports.push(progress);
            if reports.len() > after {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let options = options(&world, AfterCommit::RemoveChild);
        let result = commit("child", &options, &mut watcher);
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(read(&world, "child").unwrap() == expected);
            assert_eq!(cid(&world, "base") == base, after == 0);
            commit("child", &options, &mut unwatched).unwrap();
            assert!(read(&world, "base").unwrap() == expected);
        } else {
            assert!(after > 2);
            assert_eq!(reports.last().unwrap().percent(), 100);
            break;
        }
    }
}

/// More seeds for a longer look.
fn seeds() -> u64 {
    let seeds = std::env::var("VMDK_CRASH_SEEDS").ok();
    seeds.map_or(1, |seeds| seeds.parse().unwrap())
}

/// Stopped behind every change, with unsynced ones lost: either the chain reads as before, or running it again ends it.
#[test]
fn a_crash_anywhere_is_finished_by_running_it_again() {
    for seed in 0..seeds() {
        for (base, child, afterwards) in [
            (KINDS[0], KINDS[2], AfterCommit::RemoveChild),
            (KINDS[2], KINDS[1], AfterCommit::RemoveChild),
            (KINDS[4], KINDS[3], AfterCommit::RemoveChild),
            (KINDS[1], KINDS[0], AfterCommit::EmptyChild),
            (KINDS[0], KINDS[3], AfterCommit::EmptyChild),
        ] {
            let mut numbers = Numbers::new(100 + seed);
            let (world, expected) = pair(base, child, &mut numbers);
            commit("child", &options(&world, afterwards), &mut unwatched).unwrap();
            let mut unreadable = 0;
            for stop in 0..=world.len() {
                for lose in [false, true] {
                    let what = format!("{child:?} into {base:?}, {seed}: {stop}, {lose}");
                    let after = if lose {
                        world.crashed(stop, &mut numbers)
                    } else {
                        world.killed(stop)
                    };
                    let has_child = after.names().iter().any(|name| name == "child");
                    if has_child {
                        match read(&after, "child") {
                            Ok(found) => assert!(found == expected, "{what}"),
                            Err(error) => {
                                let kind = error.kind();
                                let known = [ErrorKind::CidMismatch, ErrorKind::ExtentNotFound];
                                assert!(known.contains(&kind), "{what}: {error}");
                                unreadable += 1;
                            }
                        }
                        commit("child", &options(&after, afterwards), &mut unwatched)
                            .unwrap_or_else(|error| panic!("{what}: {error}"));
                    }
                    assert!(read(&after, "base").unwrap() == expected, "{what}");
                    if afterwards == AfterCommit::EmptyChild {
                        assert!(read(&after, "child").unwrap() == expected, "{what}");
                    } else {
                        let left = after.names();
                        let gone = left.iter().all(|name| !name.starts_with("child"));
                        assert!(gone, "{what}: {left:?}");
                    }
                }
            }
            assert!(unreadable > 0, "the short moment was not met");
            assert!(unreadable <= 20, "{unreadable} moments");
        }
    }
}

/// A child that lost an extent by accident is not taken for one that was being removed.
#[test]
fn a_removed_child_takes_its_companions_along() {
    let mut numbers = Numbers::new(5);
    for kind in [Kind::Split, KINDS[0]] {
        let (world, expected) = pair(Kind::Flat, kind, &mut numbers);
        let world = world
            .with("child-ctk.vmdk", "changes")
            .with("child-digest.vmdk", "digest")
            .with("child-notes", "of somebody");
        let options = options(&world, AfterCommit::RemoveChild);
        commit("child", &options, &mut unwatched).unwrap();
        assert_eq!(world.names(), ["base", "base-1", "child-notes"]);
        assert!(read(&world, "base").unwrap() == expected);
    }
}

#[test]
fn a_removed_child_leaves_what_is_a_disk_by_itself() {
    let other = SparseImage::monolithic(SECTORS);
    let line = format!("RW {SECTORS} SPARSE \"other\"");
    let text = child_of(&descriptor("custom", &[&line]), 7, 1, "base");
    let world = with_disk(World::default(), "base", Kind::Flat, 1, None)
        .with("other", other.build())
        .with("child", text);
    let options = options(&world, AfterCommit::RemoveChild);
    commit("child", &options, &mut unwatched).unwrap();
    assert_eq!(world.names(), ["base", "base-1", "other"]);
}

#[test]
fn a_lost_extent_is_not_a_removal() {
    let (world, _) = pair(KINDS[0], KINDS[2], &mut Numbers::new(6));
    let names = world.names().into_iter().filter(|name| name != "child-2");
    let world = names.fold(World::default(), |rest, name| {
        rest.with(&name, world.bytes(&name))
    });
    let options = options(&world, AfterCommit::RemoveChild);
    let error = commit("child", &options, &mut unwatched).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExtentNotFound);
    assert_eq!(world.len(), 0);
}

fn qemu_content(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    fs::read(raw).unwrap()
}

#[test]
fn chains_of_qemu_are_committed_and_read_by_it() {
    if !has_qemu() {
        return;
    }
    let subformats = [
        ("monolithicSparse", "monolithicSparse"),
        ("monolithicFlat", "monolithicSparse"),
        ("twoGbMaxExtentFlat", "twoGbMaxExtentSparse"),
        (
            "monolithicSparse,zeroed_grain=on",
            "monolithicSparse,zeroed_grain=on",
        ),
    ];
    for (base, child) in subformats {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { scratch.path().join(name) };
        let create = |path: &Path, kind: &str, rest: &[&str]| {
            let kind = format!("subformat={kind}");
            run(Command::new("qemu-img")
                .args(["create", "-q", "-f", "vmdk", "-o", &kind])
                .arg(path)
                .args(rest));
        };
        let write = |path: &Path, what: &[&str]| {
            let mut command = Command::new("qemu-io");
            command.args(["-f", "vmdk"]);
            for what in what {
                command.args(["-c", what]);
            }
            run(command.arg(path));
        };
        create(&at("a.vmdk"), base, &["5M"]);
        write(&at("a.vmdk"), &["write -P 1 0 1M", "write -P 2 3M 300k"]);
        create(&at("b.vmdk"), child, &["-F", "vmdk", "-b", "a.vmdk"]);
        write(
            &at("b.vmdk"),
            &[
                "write -P 3 512k 70k",
                "write -z 64k 128k",
                "write -P 4 4M 1M",
            ],
        );
        let expected = qemu_content(&at("b.vmdk"));
        let parent = commit(at("b.vmdk"), &CommitOptions::new(), &mut unwatched).unwrap();
        assert_eq!(parent, fs::canonicalize(at("a.vmdk")).unwrap());
        assert!(!at("b.vmdk").exists());
        assert!(
            qemu_content(&at("a.vmdk")) == expected,
            "{child} into {base}"
        );
        if !base.contains("Flat") {
            run(Command::new("qemu-img").arg("check").arg(at("a.vmdk")));
        }
        let disk = Disk::open(at("a.vmdk"), &OpenOptions::new()).unwrap();
        assert!(content(&disk) == expected);
        let is_data = |extent: Result<vmdk_engine::MapExtent, Error>| {
            extent.unwrap().state == Allocation::Data
        };
        assert!(disk.extents(range(0, 128)).all(is_data));
        let left = fs::read_dir(scratch.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with("b-")),
            "{left:?}"
        );
    }
}
