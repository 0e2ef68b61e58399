//! Children that were made here: they show their parent, are written, and other programs read them.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::world::World;
use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{
    Adapter, CreateOptions, Disk, DiskKind, ErrorKind, Geometry, OpenOptions, Sector, SectorCount,
    unwatched,
};

const CHILDREN: [DiskKind; 2] = [DiskKind::MonolithicSparse, DiskKind::SplitSparse];

/// Writes pieces of random bytes, here and to the model.
fn scribble(disk: &Disk, numbers: &mut Numbers, model: &mut [u8]) {
    let sectors = model.len() / 512;
    for _ in 0..10 {
        let start = usize::try_from(numbers.below(u64::try_from(sectors).unwrap())).unwrap();
        let end = (start + 1 + usize::try_from(numbers.below(200)).unwrap()).min(sectors);
        let part = &mut model[start * 512..end * 512];
        numbers.fill(part);
        disk.write_at(Sector::new(u64::try_from(start).unwrap()), part)
            .unwrap();
    }
}

fn qemu_content(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    let content = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    content
}

#[test]
fn a_chain_of_created_children_holds_what_was_written_at_every_depth() {
    let with_qemu = has_qemu();
    for base_kind in [
        DiskKind::MonolithicSparse,
        DiskKind::MonolithicFlat,
        DiskKind::SplitFlat,
        DiskKind::SplitSparse,
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let path = |depth: usize| {
            // The last two have a folder of their own beside that of the others.
            let folder = if depth < 3 { "vm" } else { "clone" };
            scratch
                .path()
                .join(folder)
                .join(format!("disk-{depth}.vmdk"))
        };
        for folder in ["vm", "clone"] {
            fs::create_dir(scratch.path().join(folder)).unwrap();
        }
        let sectors = 5000;
        let mut numbers = Numbers::new(3);
        let mut model = vec![0; sectors * 512];
        let options = CreateOptions::new(base_kind, SectorCount::new(5000));
        let base = Disk::create(path(0), &options, &mut unwatched).unwrap();
        scribble(&base, &mut numbers, &mut model);
        base.close().unwrap();
        for depth in 1..5 {
            let parent = Disk::open(path(depth - 1), &OpenOptions::new()).unwrap();
            let kind = CHILDREN[depth % 2];
            parent
                .create_child(path(depth), kind, &mut unwatched)
                .unwrap();
            drop(parent);
            let options = OpenOptions::new().writable(true);
            let child = Disk::open(path(depth), &options).unwrap();
            assert!(content(&child) == model, "{depth}: new");
            assert_eq!(child.info().links, u32::try_from(depth + 1).unwrap());
            assert_eq!(child.info().kind, kind);
            let hint = match depth {
                3 => "../vm/disk-2.vmdk".to_owned(),
                _ => format!("disk-{}.vmdk", depth - 1),
            };
            assert_eq!(child.info().parent_hint, Some(hint));
            scribble(&child, &mut numbers, &mut model);
            child.close().unwrap();
            let child = Disk::open(path(depth), &OpenOptions::new()).unwrap();
            assert!(content(&child) == model, "{depth}: written");
            if with_qemu {
                assert!(qemu_content(&path(depth)) == model, "{depth}: qemu-img");
                let info = run(Command::new("qemu-img").arg("info").arg(path(depth)));
                assert!(info.contains("backing file: "), "{info}");
            }
        }
    }
}

#[test]
fn a_child_inherits_what_a_guest_sees_and_nothing_else() {
    let world = World::default();
    let geometry = Geometry {
        cylinders: 3,
        heads: 4,
        sectors: 5,
    };
    let options = CreateOptions::new(DiskKind::MonolithicFlat, SectorCount::new(4096))
        .gate(world.gate())
        .adapter(Adapter::BusLogic)
        .hardware_version(9)
        .sector_sizes(512, 4096)
        .geometry(geometry);
    let base = Disk::create("base.vmdk", &options, &mut unwatched).unwrap();
    base.set_metadata("comment", "the base").unwrap();
    base.close().unwrap();
    let before = world.bytes("base.vmdk");
    let base = Disk::open("base.vmdk", &world.options()).unwrap();
    base.create_child("child.vmdk", DiskKind::SplitSparse, &mut unwatched)
        .unwrap();
    assert!(
        world.bytes("base.vmdk") == before,
        "the parent stays as it is"
    );
    let text = String::from_utf8(world.bytes("child.vmdk")).unwrap();
    let value = |key: &str| {
        text.split_once(key)
            .unwrap()
            .1
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    let cid = |disk: &Disk| disk.metadata("longContentID").unwrap()[24..].to_owned();
    assert_eq!(value("parentCID="), cid(&base));
    assert_ne!(value("\nCID="), cid(&base));
    assert_eq!(value("parentFileNameHint="), "\"base.vmdk\"");
    assert_eq!(value("createType="), "\"twoGbMaxExtentSparse\"");
    assert!(!text.contains("comment"));
    let child = Disk::open("child.vmdk", &world.options()).unwrap();
    let info = child.info();
    assert_eq!(info.adapter, Adapter::BusLogic);
    assert_eq!(info.physical_geometry, geometry);
    assert_eq!(info.physical_sector_size, 4096);
    assert_ne!(info.uuid, base.info().uuid);
    assert_eq!(child.metadata("virtualHWVersion").as_deref(), Some("9"));
}

#[test]
fn what_can_have_no_child_is_refused() {
    let world = World::default();
    let options =
        CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(4096)).gate(world.gate());
    let writable = Disk::create("base.vmdk", &options, &mut unwatched).unwrap();
    let child = |disk: &Disk, name: &str, kind| {
        let error = disk.create_child(name, kind, &mut unwatched).unwrap_err();
        assert_eq!(world.names(), ["base.vmdk"], "{error}");
        error.kind()
    };
    let sparse = DiskKind::MonolithicSparse;
    assert_eq!(
        child(&writable, "child.vmdk", sparse),
        ErrorKind::InvalidArgument
    );
    let base = Disk::open("base.vmdk", &world.options()).unwrap();
    drop(writable);
    for kind in [
        DiskKind::MonolithicFlat,
        DiskKind::VmfsSparse,
        DiskKind::StreamOptimized,
    ] {
        assert_eq!(child(&base, "child.vmdk", kind), ErrorKind::Unsupported);
    }
    assert_eq!(child(&base, "base.vmdk", sparse), ErrorKind::AlreadyExists);
    assert_eq!(
        child(&base, "a\"b.vmdk", sparse),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn a_disk_that_somebody_writes_gets_no_child() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("base.vmdk");
    let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(4096));
    let writer = Disk::create(&path, &options, &mut unwatched).unwrap();
    let base = Disk::open(&path, &OpenOptions::new().ignore_locks(true)).unwrap();
    let child = scratch.path().join("child.vmdk");
    let make = || base.create_child(&child, DiskKind::SplitSparse, &mut unwatched);
    assert_eq!(make().unwrap_err().kind(), ErrorKind::AlreadyLocked);
    assert!(!child.exists());
    drop(writer);
    make().unwrap();
}
