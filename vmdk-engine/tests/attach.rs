//! Children that were opened alone, put on top of their parents.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::image::{MemoryGate, SparseImage, child_of, descriptor};
use support::recording::{Failure, Recording};
use support::{content, has_qemu, range, run};
use vmdk_engine::{Allocation, Disk, Error, ErrorKind, OpenOptions, Sector, SectorRange};

const SECTORS: u64 = 1000;

fn link(cid: u32, parent: Option<u32>) -> Vec<u8> {
    let plain = SparseImage::monolithic(SECTORS);
    let text = match parent {
        Some(parent) => child_of(&plain.text, cid, parent, "nowhere.vmdk"),
        None => plain
            .text
            .replace("CID=1f2e3d4c", &format!("CID={cid:08x}")),
    };
    SparseImage { text, ..plain }.build()
}

/// `base` <- `middle` <- `leaf`, which a hint does not lead to, and disks that do not belong to them.
fn gate() -> MemoryGate {
    let small = SparseImage::monolithic(SECTORS - 1).text;
    let small = SparseImage {
        text: small.replace("CID=1f2e3d4c", "CID=00000001"),
        ..SparseImage::monolithic(SECTORS - 1)
    };
    let flat = |cid: u32| {
        let line = format!("RW {SECTORS} FLAT \"flat\" 0");
        let text = descriptor("monolithicFlat", &[&line]);
        text.replace("CID=1f2e3d4c", &format!("CID={cid:08x}"))
    };
    MemoryGate::default()
        .with("base", link(1, None))
        .with("middle", link(2, Some(1)))
        .with("leaf", link(3, Some(2)))
        .with("other", link(4, None))
        .with("small", small.build())
        .with("flat-base", flat(1))
        .with("flat", vec![5; usize::try_from(SECTORS).unwrap() * 512])
        .with("itself", link(7, Some(7)))
}

fn alone(gate: &MemoryGate, name: &str) -> Disk {
    Disk::open(name, &gate.options().single_link(true)).unwrap()
}

#[test]
fn an_attached_parent_shows_and_is_never_written() {
    let base = SparseImage {
        text: SparseImage::monolithic(SECTORS)
            .text
            .replace("CID=1f2e3d4c", "CID=00000001"),
        ..SparseImage::monolithic(SECTORS)
    };
    let mut bytes = base.build();
    // Grain 0 of the base is allocated and holds fives.
    support::image::put_entry(&mut bytes, base.first_table(), 0, 128);
    support::image::put_entry(&mut bytes, base.redundant_directory() + 1, 0, 128);
    bytes.resize(256 * 512, 5);
    let child = child_of(&base.text, 2, 1, "nowhere.vmdk");
    let child = SparseImage {
        text: child,
        ..base
    };
    let gate = MemoryGate::default()
        .with("base", bytes)
        .with("child", child.build());
    let options = gate.options().single_link(true).writable(true);
    let child = Disk::open("child", &options).unwrap();
    assert_eq!(child.info().links, 1);
    let before = gate.bytes("base");
    let parent = Disk::open("base", &gate.options().writable(true)).unwrap();
    child.can_attach(&parent).unwrap();
    let disk = child.attach(parent).unwrap();
    assert_eq!(disk.info().links, 2);
    disk.write_at(Sector::new(3), &[9; 512]).unwrap();
    let mut expected = vec![0; usize::try_from(SECTORS).unwrap() * 512];
    expected[..128 * 512].fill(5);
    expected[3 * 512..4 * 512].fill(9);
    assert!(content(&disk) == expected);
    let map: Vec<_> = disk
        .extents(range(0, SECTORS))
        .map(|extent| extent.unwrap())
        .map(|extent| (extent.range.end().get(), extent.state, extent.depth))
        .collect();
    assert_eq!(
        map,
        [(128, Allocation::Data, 0), (SECTORS, Allocation::Hole, 1)]
    );
    disk.close().unwrap();
    assert!(gate.bytes("base") == before);
}

#[test]
fn a_parent_that_was_open_for_writing_is_closed_properly() {
    let gate = gate();
    let base = Disk::open("flat-base", &gate.options().writable(true)).unwrap();
    let middle = alone(&gate, "middle");
    let disk = middle.attach(base).unwrap();
    assert!(!disk.is_writable());
    assert!(content(&disk).iter().all(|byte| *byte == 5));

    // One that was changed since does not fit, and both come back as they were.
    drop(disk);
    let base = Disk::open("flat-base", &gate.options().writable(true)).unwrap();
    base.write_at(Sector::ZERO, &[6; 512]).unwrap();
    let error = alone(&gate, "middle").attach(base).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CidMismatch);
    let (middle, base) = error.into_disks();
    assert!(content(&middle).iter().all(|byte| *byte == 0));
    assert!(base.is_writable());
    base.write_at(Sector::ZERO, &[7; 512]).unwrap();
    base.close().unwrap();
}

#[test]
fn a_parent_that_cannot_be_closed_says_so_again() {
    let recording = Recording::new(link(1, None));
    let gate = MemoryGate::default()
        .with_recording("base", &recording)
        .with("child", link(2, Some(1)));
    let parent = Disk::open("base", &gate.options().writable(true)).unwrap();
    let child = alone(&gate, "child");
    recording.fail(Failure::Syncs);
    let error = child.attach(parent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let (_, parent) = error.into_disks();
    parent.close().unwrap_err();
}

#[test]
fn chains_grow_link_by_link_from_the_base() {
    let gate = gate();
    let middle = alone(&gate, "middle").attach(alone(&gate, "base")).unwrap();
    let leaf = alone(&gate, "leaf").attach(middle).unwrap();
    assert_eq!(leaf.info().links, 3);
    let run: Vec<_> = leaf.extents(range(0, SECTORS)).collect();
    let [Ok(hole)] = &run[..] else {
        panic!("{run:?}")
    };
    assert_eq!((hole.state, hole.depth), (Allocation::Hole, 2));

    // Without the base, what it has is unknown, and not zeros.
    let cut = alone(&gate, "leaf").attach(alone(&gate, "middle")).unwrap();
    let first = cut.extents(range(0, SECTORS)).next().unwrap().unwrap();
    assert_eq!((first.state, first.depth), (Allocation::Unknown, 2));
    let error = cut.read_at(Sector::ZERO, &mut [0; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentNotFound);
}

#[test]
fn what_does_not_fit_is_refused_and_given_back() {
    let gate = gate();
    for (child, parent, kind) in [
        ("base", "other", ErrorKind::NotAChild),
        ("middle", "other", ErrorKind::CidMismatch),
        ("middle", "leaf", ErrorKind::CidMismatch),
        ("middle", "small", ErrorKind::CapacityMismatch),
        ("itself", "itself", ErrorKind::InvalidChain),
        ("middle", "middle", ErrorKind::InvalidChain),
    ] {
        let (one, other) = (alone(&gate, child), alone(&gate, parent));
        assert_eq!(one.can_attach(&other).unwrap_err().kind(), kind);
        let error = one.attach(other).unwrap_err();
        assert_eq!(error.kind(), kind, "{child} on {parent}: {error}");
        assert!(error.to_string().starts_with("attaching failed: "));
        let (one, other) = error.into_disks();
        content(&one);
        content(&other);
    }
    let attached = alone(&gate, "middle").attach(alone(&gate, "base")).unwrap();
    let error = Error::from(attached.attach(alone(&gate, "base")).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::HasParent);
    // The file of the child somewhere among the parents.
    let loop_gate = MemoryGate::default()
        .with("a", link(1, Some(2)))
        .with("b", link(2, Some(1)));
    let b = alone(&loop_gate, "b")
        .attach(alone(&loop_gate, "a"))
        .unwrap();
    let error = alone(&loop_gate, "a").attach(b).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidChain);
}

#[test]
fn no_more_links_than_may_be_opened() {
    let gate = (0..=65_u32).fold(MemoryGate::default(), |gate, number| {
        let parent = number.checked_sub(1);
        gate.with(
            &number.to_string(),
            link(number + 1, parent.map(|it| it + 1)),
        )
    });
    let mut disk = alone(&gate, "0");
    for number in 1..=64 {
        disk = alone(&gate, &number.to_string()).attach(disk).unwrap();
    }
    assert_eq!(disk.info().links, 65);
    let error = alone(&gate, "65").attach(disk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyLinks);
}

#[test]
fn chains_of_qemu_are_put_together_as_opened() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let create = |path: &Path, parent: Option<&str>| {
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", "vmdk"]);
        if let Some(parent) = parent {
            command.args(["-F", "vmdk", "-b", parent]).arg(path);
        } else {
            command.arg(path).arg("3M");
        }
        run(&mut command);
    };
    let write = |path: &Path, what: &[&str]| {
        let mut command = Command::new("qemu-io");
        command.args(["-f", "vmdk"]);
        for what in what {
            command.args(["-c", what]);
        }
        run(command.arg(path));
    };
    create(&at("a.vmdk"), None);
    write(&at("a.vmdk"), &["write -P 1 0 1M", "write -P 2 2M 64k"]);
    create(&at("b.vmdk"), Some("a.vmdk"));
    write(&at("b.vmdk"), &["write -P 3 512k 70k"]);
    create(&at("c.vmdk"), Some("b.vmdk"));
    write(&at("c.vmdk"), &["write -P 4 700k 3k"]);
    let whole = Disk::open(at("c.vmdk"), &OpenOptions::new()).unwrap();
    let expected = content(&whole);

    // Moved away from each other, so that no hint leads anywhere.
    for name in ["a", "b", "c"] {
        fs::create_dir(at(name)).unwrap();
        fs::rename(at(&format!("{name}.vmdk")), at(name).join("x.vmdk")).unwrap();
    }
    let open = |name: &str| {
        let options = OpenOptions::new().single_link(true);
        Disk::open(at(name).join("x.vmdk"), &options).unwrap()
    };
    let disk = open("b").attach(open("a")).unwrap();
    let disk = open("c").attach(disk).unwrap();
    assert!(content(&disk) == expected);
    let runs = |disk: &Disk| -> Vec<_> {
        let whole = SectorRange::whole(disk.capacity());
        disk.extents(whole).map(|extent| extent.unwrap()).collect()
    };
    assert_eq!(runs(&disk), runs(&whole));
}
