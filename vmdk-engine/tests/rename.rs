//! Disks with other names, and disks that are gone.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::esx::CowdImage;
use support::image::{child_of, descriptor};
use support::world::{Event, World};
use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, ErrorKind, FolderGate, OpenOptions, Sector, SectorCount, rename,
    unlink, unwatched,
};

const KINDS: [DiskKind; 6] = [
    DiskKind::MonolithicSparse,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
    DiskKind::SplitFlat,
    DiskKind::VmfsFlat,
    DiskKind::VmfsThin,
];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A disk of several files, with one that its name has nothing to do with, and a list of changes.
fn several() -> World {
    let text = descriptor(
        "custom",
        &[
            "RW 10 FLAT \"old-f001.vmdk\" 0",
            "RW 10 FLAT \"old-f002.vmdk\" 0",
            "RW 10 ZERO",
            "RW 10 FLAT \"older.vmdk\" 0",
        ],
    );
    let text = text.replace(
        "# The Disk Data Base",
        "# Change Tracking File\nchangeTrackPath=\"old-ctk.vmdk\"\n\n# The Disk Data Base",
    );
    World::default()
        .with("old.vmdk", text.clone())
        .with("old-f001.vmdk", vec![1; 5120])
        .with("old-f002.vmdk", vec![2; 5120])
        .with("older.vmdk", vec![3; 5120])
        .with("old-ctk.vmdk", *b"\xa2\x72\x19\xf6")
        .with(
            "child.vmdk",
            child_of(&child_text(), 7, 0x1f2e_3d4c, "old.vmdk"),
        )
        .with("child-s001.vmdk", child_extent())
}

/// A disk in one file, with a list of changes, and a child.
fn single_with_child() -> World {
    let world = World::default().with("old-ctk.vmdk", *b"\xa2\x72\x19\xf6");
    let options =
        CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(40)).gate(world.gate());
    let disk = Disk::create("old.vmdk", &options, &mut unwatched).unwrap();
    disk.write_at(Sector::new(9), &[9; 512]).unwrap();
    disk.close().unwrap();
    let disk = Disk::open("old.vmdk", &world.options()).unwrap();
    disk.create_child("child.vmdk", DiskKind::SplitSparse, &mut unwatched)
        .unwrap();
    world.restarted()
}

fn child_text() -> String {
    descriptor(
        "twoGbMaxExtentSparse",
        &["RW 40 SPARSE \"child-s001.vmdk\""],
    )
}

fn child_extent() -> Vec<u8> {
    support::image::SparseImage::extent(40).build()
}

fn open_content(world: &World, name: &str) -> Option<Vec<u8>> {
    let disk = Disk::open(name, &world.options()).ok()?;
    Some(content(&disk))
}

#[test]
fn disks_of_every_kind_move_whole() {
    let with_qemu = has_qemu();
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let folder = |name: &str| scratch.path().join(name);
        fs::create_dir(folder("there")).unwrap();
        let options = CreateOptions::new(kind, SectorCount::new(3000));
        let disk = Disk::create(folder("old.vmdk"), &options, &mut unwatched).unwrap();
        disk.write_at(Sector::new(2000), &[7; 5120]).unwrap();
        disk.set_metadata("comment", "kept").unwrap();
        let model = content(&disk);
        let cid = disk.metadata("longContentID");
        disk.close().unwrap();
        let count = names(scratch.path()).len();
        rename(
            folder("old.vmdk"),
            folder("new disk.vmdk"),
            &[],
            &FolderGate,
        )
        .unwrap();
        let there = names(scratch.path());
        assert_eq!(there.len(), count, "{there:?}");
        assert!(
            there.iter().all(|name| !name.starts_with("old")),
            "{there:?}"
        );
        rename(folder("new disk.vmdk"), folder("there/x"), &[], &FolderGate).unwrap();
        assert_eq!(names(scratch.path()), ["there"]);
        assert_eq!(names(&folder("there")).len(), count - 1);
        let disk = Disk::open(folder("there/x"), &OpenOptions::new().writable(true)).unwrap();
        assert!(content(&disk) == model, "{kind:?}");
        assert_eq!(disk.metadata("longContentID"), cid);
        assert_eq!(disk.metadata("comment").as_deref(), Some("kept"));
        drop(disk);
        if with_qemu {
            let info = run(Command::new("qemu-img").arg("info").arg(folder("there/x")));
            let name = match kind {
                DiskKind::MonolithicSparse => "there/x",
                DiskKind::SplitSparse => "x-s001.vmdk",
                DiskKind::SplitFlat => "x-f001.vmdk",
                _ => "x-flat.vmdk",
            };
            assert!(info.contains(name), "{info}");
        }
        unlink(folder("there/x"), &FolderGate).unwrap();
        assert!(names(&folder("there")).is_empty());
    }
}

#[test]
fn each_file_goes_where_its_name_says() {
    let world = several();
    let before = String::from_utf8(world.bytes("old.vmdk")).unwrap();
    rename("old.vmdk", "new.vmdk", &[Path::new("child.vmdk")], &world).unwrap();
    assert_eq!(
        world.names(),
        [
            "child-s001.vmdk",
            "child.vmdk",
            "new-ctk.vmdk",
            "new-f001.vmdk",
            "new-f002.vmdk",
            "new.vmdk",
            "older.vmdk"
        ]
    );
    let after = String::from_utf8(world.bytes("new.vmdk")).unwrap();
    assert_eq!(after, before.replace("\"old-", "\"new-"));
    let child = Disk::open("child.vmdk", &world.options()).unwrap();
    assert_eq!(child.info().parent_hint.as_deref(), Some("new.vmdk"));
    assert_eq!(content(&child)[5120..5632], [2; 512]);
}

#[test]
fn a_child_that_moves_finds_its_parent_and_a_child_elsewhere_does_too() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| scratch.path().join(name);
    fs::create_dir(folder("a")).unwrap();
    fs::create_dir(folder("b")).unwrap();
    let options = CreateOptions::new(DiskKind::SplitFlat, SectorCount::new(3000));
    let base = Disk::create(folder("a/base.vmdk"), &options, &mut unwatched).unwrap();
    base.write_at(Sector::new(5), &[5; 512]).unwrap();
    base.close().unwrap();
    let base = Disk::open(folder("a/base.vmdk"), &OpenOptions::new()).unwrap();
    let child = folder("a/child.vmdk");
    base.create_child(&child, DiskKind::MonolithicSparse, &mut unwatched)
        .unwrap();
    drop(base);
    let hint = |path: &Path| {
        let disk = Disk::open(path, &OpenOptions::new()).unwrap();
        assert_eq!(content(&disk)[2560..3072], [5; 512]);
        disk.info().parent_hint.unwrap()
    };
    let moved = folder("b/moved.vmdk");
    rename(&child, &moved, &[], &FolderGate).unwrap();
    assert_eq!(hint(&moved), "../a/base.vmdk");
    rename(
        folder("a/base.vmdk"),
        folder("b/base2.vmdk"),
        &[&moved],
        &FolderGate,
    )
    .unwrap();
    assert_eq!(hint(&moved), "base2.vmdk");
    assert!(names(&folder("a")).is_empty());
}

#[test]
fn what_cannot_move_stays() {
    let check = |world: &World, to: &str, children: &[&Path], kind| {
        let (names, text) = (world.names(), world.bytes("old.vmdk"));
        let error = rename("old.vmdk", to, children, world).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(world.names(), names, "{error}");
        assert!(world.bytes("old.vmdk") == text, "{error}");
    };
    for taken in ["new.vmdk", "new-f002.vmdk", "new-ctk.vmdk"] {
        let world = several().with(taken, "precious");
        check(&world, "new.vmdk", &[], ErrorKind::AlreadyExists);
        assert_eq!(world.bytes(taken), b"precious");
    }
    check(&several(), "old.vmdk", &[], ErrorKind::AlreadyExists);
    check(&several(), "a\"b.vmdk", &[], ErrorKind::InvalidArgument);
    let missing = several();
    fs_remove(&missing, "old-f002.vmdk");
    check(&missing, "new.vmdk", &[], ErrorKind::ExtentNotFound);
    let stranger = several().with("stranger.vmdk", child_of(&child_text(), 7, 9, "old.vmdk"));
    let path = [Path::new("child.vmdk"), Path::new("stranger.vmdk")];
    check(&stranger, "new.vmdk", &path, ErrorKind::NotAChild);
    let none = rename("none.vmdk", "new.vmdk", &[], &several()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

fn fs_remove(world: &World, name: &str) {
    use vmdk_engine::OpenGate;
    world.remove(Path::new(name)).unwrap();
}

#[test]
fn an_open_disk_neither_moves_nor_goes() {
    for kind in [DiskKind::MonolithicSparse, DiskKind::SplitFlat] {
        let scratch = tempfile::tempdir().unwrap();
        let old = scratch.path().join("old.vmdk");
        let options = CreateOptions::new(kind, SectorCount::new(300));
        let disk = Disk::create(&old, &options, &mut unwatched).unwrap();
        let there = names(scratch.path());
        let new = scratch.path().join("new.vmdk");
        let error = rename(&old, new, &[], &FolderGate).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
        let error = unlink(&old, &FolderGate).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
        assert_eq!(names(scratch.path()), there);
        disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    }
}

#[test]
fn a_failure_anywhere_leaves_the_old_disk() {
    let children = [Path::new("child.vmdk")];
    let old = open_content(&several(), "old.vmdk").unwrap();
    for events in 0.. {
        let world = several();
        world.fail_from(events);
        if rename("old.vmdk", "new.vmdk", &children, &world).is_ok() {
            break;
        }
        // What fails from one moment on cannot be undone either; a second try does the rest.
        let world = world.restarted();
        finish_rename(&world, &children, &old, &format!("failed at {events}"));
    }
}

/// One change fails, and those that bring everything back do not: the old disk is there, whole, with its children.
#[test]
fn what_fails_once_is_undone() {
    let children = [Path::new("child.vmdk")];
    for start in [several(), single_with_child()] {
        let world = start.restarted();
        rename("old.vmdk", "new.vmdk", &children, &world).unwrap();
        let moved = world
            .events()
            .iter()
            .rposition(|event| matches!(event, Event::Rename(..)));
        let old = open_content(&start, "old.vmdk").unwrap();
        let shown = open_content(&start, "child.vmdk").unwrap();
        for events in 0..world.len() {
            let world = start.restarted();
            world.fail_once_at(events);
            let failed = rename("old.vmdk", "new.vmdk", &children, &world).is_err();
            let case = format!("failed once at {events}: {:?}", world.names());
            // The names and the hint agree, whatever they are.
            let child = open_content(&world, "child.vmdk");
            assert!(child.is_some_and(|child| child == shown), "{case}");
            if failed && moved.is_some_and(|moved| events <= moved) {
                assert_eq!(world.names(), start.names(), "{case}");
                assert!(open_content(&world, "old.vmdk").unwrap() == old, "{case}");
            }
            finish_rename(&world.restarted(), &children, &old, &case);
        }
    }
}

/// Does a rename again that something ended; afterwards all is in its place.
fn finish_rename(world: &World, children: &[&Path], expected: &[u8], case: &str) {
    match rename("old.vmdk", "new.vmdk", children, world) {
        Ok(()) => {}
        // It had come to its end.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => panic!("{case}: {error}: {:?}", world.names()),
    }
    let disk = open_content(world, "new.vmdk").unwrap_or_else(|| panic!("{case}"));
    assert!(disk == expected, "{case}");
    let left = world.names();
    assert!(
        !left
            .iter()
            .any(|name| name.contains("old.") || name.contains("old-")),
        "{case}: {left:?}"
    );
    assert!(
        !left
            .iter()
            .any(|name| name.contains("draft") || name.contains("moving")),
        "{case}: {left:?}"
    );
    if !children.is_empty() {
        let child = Disk::open("child.vmdk", &world.options()).unwrap();
        assert_eq!(
            child.info().parent_hint.as_deref(),
            Some("new.vmdk"),
            "{case}"
        );
    }
}

#[test]
fn after_a_crash_anywhere_doing_it_again_finishes_it() {
    let single = {
        let world = World::default();
        let options =
            CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(40)).gate(world.gate());
        let disk = Disk::create("old.vmdk", &options, &mut unwatched).unwrap();
        disk.write_at(Sector::new(9), &[9; 512]).unwrap();
        disk.close().unwrap();
        world.restarted()
    };
    let child = [Path::new("child.vmdk")];
    let none: [&Path; 0] = [];
    let cases: [(World, &[&Path]); 3] = [(several(), &none), (several(), &child), (single, &none)];
    for (start, children) in cases {
        let expected = open_content(&start, "old.vmdk").unwrap();
        let world = start.restarted();
        rename("old.vmdk", "new.vmdk", children, &world).unwrap();
        let mut numbers = Numbers::new(11);
        for events in 0..=world.len() {
            for attempt in 0..8 {
                let after = match attempt {
                    0 => world.killed(events),
                    _ => world.crashed(events, &mut numbers),
                };
                let case = format!("{events} of {}, {attempt}", world.len());
                for name in ["old.vmdk", "new.vmdk"] {
                    let found = open_content(&after, name);
                    assert!(
                        found.is_none_or(|found| found == expected),
                        "{case}: {name}"
                    );
                }
                finish_rename(&after, children, &expected, &case);
            }
        }
    }
}

#[test]
fn unlink_removes_what_belongs_to_the_disk_and_nothing_else() {
    let world = several()
        .with("old-digest.vmdk", "digest")
        .with("old-ctk2.vmdk", "other")
        .with("old-f003.vmdk", "other");
    unlink("old.vmdk", &world).unwrap();
    let left = [
        "child-s001.vmdk",
        "child.vmdk",
        "old-ctk2.vmdk",
        "old-f003.vmdk",
    ];
    assert_eq!(world.names(), left);
    let error = unlink("old.vmdk", &world).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = unlink("old-ctk2.vmdk", &world).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDisk);
    assert_eq!(world.names(), left);
}

#[test]
fn unlink_stays_inside_and_leaves_other_disks_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("vm");
    fs::create_dir(&folder).unwrap();
    fs::write(scratch.path().join("secret"), [0; 5120]).unwrap();
    let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(10));
    for other in ["other.vmdk", "flat.vmdk"] {
        drop(Disk::create(folder.join(other), &options, &mut unwatched).unwrap());
    }
    let text = descriptor(
        "custom",
        &[
            "RW 10 FLAT \"../secret\" 0",
            "RW 10 SPARSE \"other.vmdk\"",
            "RW 10 FLAT \"flat.vmdk\" 0",
            "RW 10 FLAT \"/dev/null\" 0",
            "RW 10 FLAT \"none\" 0",
            "RW 10 FLAT \"own\" 0",
        ],
    );
    fs::write(folder.join("disk.vmdk"), text).unwrap();
    fs::write(folder.join("own"), [0; 5120]).unwrap();
    unlink(folder.join("disk.vmdk"), &FolderGate).unwrap();
    assert_eq!(names(&folder), ["flat.vmdk", "other.vmdk"]);
    assert_eq!(names(scratch.path()), ["secret", "vm"]);
}

/// What was on its way to a name belongs to the disk that was to get it, and goes there in the end.
#[test]
fn an_interrupted_rename_is_no_leftover_of_its_target() {
    let old = open_content(&several(), "old.vmdk").unwrap();
    let world = several();
    rename("old.vmdk", "new.vmdk", &[], &world).unwrap();
    for events in 0..world.len() {
        let after = world.killed(events);
        if after.names().contains(&"new.vmdk".to_owned()) {
            break;
        }
        let error = unlink("new.vmdk", &after).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{events}: {error}");
        let options =
            CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(40)).gate(after.gate());
        if let Ok(disk) = Disk::create("new.vmdk", &options, &mut unwatched) {
            disk.close().unwrap();
            unlink("new.vmdk", &after).unwrap();
        }
        finish_rename(&after.restarted(), &[], &old, &format!("{events}"));
    }
}

/// Two disks on their way to one name: the second one waits for the first, whose files are there already.
#[test]
fn another_disk_does_not_take_over_an_interrupted_rename() {
    let old = open_content(&several(), "old.vmdk").unwrap();
    let other = |name: &str| {
        descriptor("monolithicFlat", &["RW 10 FLAT \"other.raw\" 0"]).replace("other.raw", name)
    };
    let start = several()
        .with("other.vmdk", other("other-flat.vmdk"))
        .with("other-flat.vmdk", vec![8; 5120]);
    let world = start.restarted();
    rename("old.vmdk", "new.vmdk", &[], &world).unwrap();
    let moved = world
        .events()
        .iter()
        .position(|event| matches!(event, Event::Rename(..)))
        .unwrap();
    let after = world.killed(moved + 1);
    let error = rename("other.vmdk", "new.vmdk", &[], &after).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    fs_remove(&after, "other.vmdk");
    fs_remove(&after, "other-flat.vmdk");
    finish_rename(&after.restarted(), &[], &old, "the first one");
}

#[test]
fn a_file_that_is_named_twice_goes_once() {
    let scratch = tempfile::tempdir().unwrap();
    let text = descriptor(
        "custom",
        &[
            "RW 10 FLAT \"flat\" 0",
            "RW 10 FLAT \"flat\" 10",
            "RW 10 FLAT \"flat\" 20",
        ],
    );
    let path = scratch.path().join("disk.vmdk");
    fs::write(&path, text).unwrap();
    fs::write(scratch.path().join("flat"), [0; 30 * 512]).unwrap();
    Disk::open(&path, &OpenOptions::new()).unwrap();
    let new = scratch.path().join("new.vmdk");
    rename(&path, &new, &[], &FolderGate).unwrap();
    unlink(&new, &FolderGate).unwrap();
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn after_a_crash_unlink_finishes_when_done_again() {
    let world = several();
    unlink("old.vmdk", &world).unwrap();
    let mut numbers = Numbers::new(7);
    for events in 0..=world.len() {
        for _ in 0..5 {
            let after = world.crashed(events, &mut numbers);
            match unlink("old.vmdk", &after) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{events}: {error}"),
            }
            assert_eq!(after.names(), ["child-s001.vmdk", "child.vmdk"], "{events}");
        }
    }
}

#[test]
fn unlink_by_a_link_takes_what_belongs_to_the_disk_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let (links, disks) = (scratch.path().join("links"), scratch.path().join("disks"));
    fs::create_dir(&links).unwrap();
    fs::create_dir(&disks).unwrap();
    let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(10));
    drop(Disk::create(disks.join("disk.vmdk"), &options, &mut unwatched).unwrap());
    for list in ["disk-ctk.vmdk", "other-ctk.vmdk", "other-digest.vmdk"] {
        fs::write(disks.join(list), list).unwrap();
    }
    std::os::unix::fs::symlink("../disks/disk.vmdk", links.join("other.vmdk")).unwrap();
    unlink(links.join("other.vmdk"), &FolderGate).unwrap();
    assert_eq!(names(&disks), ["other-ctk.vmdk", "other-digest.vmdk"]);
}

#[test]
fn unlink_knows_a_delta_of_an_esx_host_for_a_part_of_the_disk() {
    let line = "RW 4096 VMFSSPARSE \"disk-delta.vmdk\"";
    let world = World::default()
        .with("disk.vmdk", descriptor("vmfsSparse", &[line]))
        .with("disk-delta.vmdk", CowdImage::new(4096, 1).build());
    unlink("disk.vmdk", &world).unwrap();
    assert!(world.names().is_empty(), "{:?}", world.names());
}
