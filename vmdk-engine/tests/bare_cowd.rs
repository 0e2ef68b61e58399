//! Disks of ESX 2 and GSX: COWD files without a descriptor, and chains of them.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure here fails the test"
)]

mod support;

use support::content;
use support::esx::CowdImage;
use support::image::{MemoryGate, SparseImage, child_of, put};
use vmdk_engine::{Adapter, Allocation, Disk, DiskKind, ErrorKind, Geometry, SectorRange};

const CAPACITY: u32 = 8192;

/// A base disk of generation `generation`, with ones in its first grain.
fn base(generation: u32) -> Vec<u8> {
    let mut image = CowdImage::new(CAPACITY, 1).fill(0, 1).build();
    for (index, number) in [8_u32, 16, 63].into_iter().enumerate() {
        put(&mut image, 32 + index * 4, &number.to_le_bytes());
    }
    put(&mut image, 1060, &generation.to_le_bytes());
    image
}

/// A child of generation 20, with twos in its second grain.
fn child(parent: &[u8], generation: u32) -> Vec<u8> {
    let mut image = CowdImage::new(CAPACITY, 1).fill(1, 2).zero(2).build();
    put(&mut image, 32, parent);
    put(&mut image, 1056, &generation.to_le_bytes());
    put(&mut image, 1060, &20_u32.to_le_bytes());
    image
}

fn kind(gate: &MemoryGate, name: &str) -> ErrorKind {
    Disk::open(name, &gate.options()).unwrap_err().kind()
}

#[test]
fn a_base_is_read_with_its_geometry() {
    let gate = MemoryGate::default().with("base.dsk", base(7));
    let disk = Disk::open("base.dsk", &gate.options()).unwrap();
    let info = disk.info();
    assert_eq!(info.kind, DiskKind::VmfsSparse);
    assert_eq!((info.links, info.parent_hint), (1, None));
    assert_eq!(info.adapter, Adapter::Unknown);
    let geometry = Geometry {
        cylinders: 8,
        heads: 16,
        sectors: 63,
    };
    assert_eq!(info.physical_geometry, geometry);
    let mut expected = vec![0; 8192 * 512];
    expected[..512].fill(1);
    assert!(content(&disk) == expected);
    let error = Disk::open("base.dsk", &gate.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(gate.bytes("base.dsk") == base(7), "the file was changed");
}

/// The header's name leads to the parent, as hints in descriptors do, and its generation must be right.
#[test]
fn a_chain_of_redo_logs_is_read() {
    let name = b"/vmfs/volumes/local/vm/base.dsk";
    let gate = MemoryGate::default()
        .with("base.dsk", base(7))
        .with("base.dsk.REDO_a1b2c3", child(name, 7))
        .with("base.dsk.REDO_second", child(b"base.dsk.REDO_a1b2c3", 20));
    let disk = Disk::open("base.dsk.REDO_second", &gate.options()).unwrap();
    assert_eq!(disk.info().links, 3);
    assert_eq!(
        disk.info().parent_hint.as_deref(),
        Some("base.dsk.REDO_a1b2c3")
    );
    let mut expected = vec![0; 8192 * 512];
    expected[..512].fill(1);
    expected[512..1024].fill(2);
    assert!(content(&disk) == expected);
    let map: Vec<_> = disk
        .extents(SectorRange::whole(disk.capacity()))
        .map(Result::unwrap)
        .map(|run| (run.range.count().get(), run.state, run.depth))
        .collect();
    assert_eq!(
        map,
        [
            (1, Allocation::Data, 2),
            (1, Allocation::Data, 0),
            (1, Allocation::Zero, 0),
            (8189, Allocation::Hole, 2),
        ]
    );
}

#[test]
fn parents_that_cannot_be_known_for_the_right_ones_are_refused() {
    use ErrorKind::{CapacityMismatch, CidMismatch, InvalidChain, InvalidDisk, ParentNotFound};
    let with = |parent: Vec<u8>, child: Vec<u8>| {
        MemoryGate::default()
            .with("base.dsk", parent)
            .with("child", child)
    };
    let over_base = |generation| child(b"base.dsk", generation);
    let hosted = |cid: &str| {
        let mut image = SparseImage::monolithic(CAPACITY.into());
        image.text = image.text.replace("1f2e3d4c", cid);
        image.build()
    };
    let mut larger = base(7);
    put(&mut larger, 12, &8193_u32.to_le_bytes());
    put(&mut larger, 24, &3_u32.to_le_bytes());
    for (name, gate, expected) in [
        ("changed since", with(base(8), over_base(7)), CidMismatch),
        (
            "no parent there",
            with(base(7), child(b"gone", 7)),
            ParentNotFound,
        ),
        (
            "its own parent",
            with(base(7), child(b"child", 20)),
            InvalidChain,
        ),
        ("another size", with(larger, over_base(7)), CapacityMismatch),
        (
            "a raw parent",
            with(vec![0; 8192 * 512], over_base(7)),
            InvalidDisk,
        ),
        // Content ids and generations are different things, even where the numbers are the same.
        (
            "a hosted parent",
            with(hosted("00000007"), over_base(7)),
            CidMismatch,
        ),
        ("nothing said", with(base(7), child(b"", 7)), ParentNotFound),
        (
            "no name",
            with(base(7), child(b"\x01\x02", 7)),
            ParentNotFound,
        ),
    ] {
        assert_eq!(kind(&gate, "child"), expected, "{name}");
    }

    let mut hosted_child = SparseImage::monolithic(CAPACITY.into());
    hosted_child.text = child_of(&hosted_child.text, 1, 7, "base.dsk");
    let gate = with(base(7), hosted_child.build());
    let error = Disk::open("child", &gate.options()).unwrap_err();
    assert_eq!(error.kind(), CidMismatch);
    let text = error.to_string();
    assert!(
        text.contains("base.dsk has the generation 7, not the content id 00000007"),
        "{text}"
    );
}

/// A delta of ESX whose descriptor is lost says nothing of its parent. It is no base for that.
#[test]
fn a_lost_delta_shows_no_zeros_for_what_it_does_not_have() {
    let gate = MemoryGate::default().with("delta", CowdImage::new(CAPACITY, 1).fill(5, 5).build());
    assert_eq!(kind(&gate, "delta"), ErrorKind::ParentNotFound);
    let options = gate.options().tolerate_missing_parent(true);
    let disk = Disk::open("delta", &options).unwrap();
    let states: Vec<_> = disk
        .extents(SectorRange::whole(disk.capacity()))
        .map(|run| run.unwrap().state)
        .collect();
    assert_eq!(
        states,
        [Allocation::Unknown, Allocation::Data, Allocation::Unknown]
    );
    let alone = Disk::open("delta", &gate.options().single_link(true)).unwrap();
    assert_eq!(content(&alone)[5 * 512], 5);
}

/// A name of 1024 bytes has no end; behind it stand numbers.
#[test]
fn a_name_without_an_end_is_cut() {
    let name = [b'x'; 1024];
    let gate = MemoryGate::default()
        .with("child", child(&name, 7))
        .with(&"x".repeat(1024), base(7));
    let disk = Disk::open("child", &gate.options()).unwrap();
    assert_eq!(disk.info().links, 2);
}
