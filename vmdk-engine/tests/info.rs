//! What disks say of themselves.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use support::image::{MemoryGate, SparseImage, descriptor};
use vmdk_engine::{Adapter, Disk, DiskInfo, DiskKind, Geometry, SectorCount};

fn open(gate: &MemoryGate) -> Disk {
    Disk::open("disk.vmdk", &gate.options()).unwrap()
}

fn info_of(text: String) -> DiskInfo {
    let gate = MemoryGate::default()
        .with("disk.vmdk", text)
        .with("flat", vec![0; 4096 * 512]);
    open(&gate).info()
}

#[test]
fn a_sparse_disk() {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(1000).build());
    let disk = open(&gate);
    let info = disk.info();
    assert_eq!(info.kind, DiskKind::MonolithicSparse);
    assert_eq!(info.capacity, SectorCount::new(1000));
    assert_eq!(disk.capacity(), info.capacity);
    assert_eq!(info.adapter, Adapter::LsiLogic);
    assert_eq!(info.links, 1);
    assert_eq!(info.parent_hint, None);
    assert_eq!(info.uuid, None);
    assert_eq!(
        (info.logical_sector_size, info.physical_sector_size),
        (512, 512)
    );
    assert_eq!(info.preferred_io, SectorCount::new(128));
    assert!(!disk.is_writable());
    assert_eq!(disk.metadata_keys(), ["adapterType", "longContentID"]);
    assert_eq!(disk.metadata("ADAPTERtype").as_deref(), Some("lsilogic"));
    assert_eq!(disk.metadata("nothing"), None);
}

#[test]
fn recorded_values_come_before_computed_ones() {
    let text = descriptor("vmfs", &["RW 4096 VMFS \"flat\""]);
    let info = info_of(text.clone());
    assert_eq!(info.kind, DiskKind::VmfsFlat);
    assert_eq!(info.bios_geometry, Geometry::default());
    let computed = Geometry {
        cylinders: 2,
        heads: 64,
        sectors: 32,
    };
    assert_eq!(info.physical_geometry, computed);
    let info = info_of(
        text + "ddb.thinProvisioned = \"1\"\nddb.uuid = \"60 00 C2 91\"\nddb.geometry.cylinders = \"3\"\n\
            ddb.geometry.heads = \"4\"\nddb.geometry.sectors = \"17\"\nddb.geometry.biosCylinders = \"5\"\n\
            ddb.geometry.biosHeads = \"255\"\nddb.geometry.biosSectors = \"63\"\n\
            ddb.physicalSectorSize = \"4096\"\n",
    );
    assert_eq!(info.kind, DiskKind::VmfsThin);
    assert_eq!(info.uuid.as_deref(), Some("60 00 C2 91"));
    let recorded = Geometry {
        cylinders: 3,
        heads: 4,
        sectors: 17,
    };
    assert_eq!(info.physical_geometry, recorded);
    let bios = Geometry {
        cylinders: 5,
        heads: 255,
        sectors: 63,
    };
    assert_eq!(info.bios_geometry, bios);
    assert_eq!(
        (info.logical_sector_size, info.physical_sector_size),
        (512, 4096)
    );
}

#[test]
fn kinds_follow_the_create_type_in_every_spelling() {
    for (create_type, kind) in [
        ("monolithicFlat", DiskKind::MonolithicFlat),
        ("MONOLITHICFLAT", DiskKind::MonolithicFlat),
        ("twoGbMaxExtentFlat", DiskKind::SplitFlat),
        ("2GbMaxExtentFlat", DiskKind::SplitFlat),
        ("vmfsEagerZeroedThick", DiskKind::VmfsFlat),
        ("vmfsThin", DiskKind::VmfsThin),
        ("custom", DiskKind::Custom),
        ("something new", DiskKind::Custom),
    ] {
        let info = info_of(descriptor(create_type, &["RW 4096 FLAT \"flat\" 0"]));
        assert_eq!(info.kind, kind, "{create_type}");
    }
}

/// For logs: who it is, and nothing of what it holds.
#[test]
fn the_debug_text_of_a_disk_is_short() {
    let mut text = descriptor("monolithicFlat", &["RW 4096 FLAT \"flat\" 0"]);
    text.push_str("ddb.comment = \"precious\"\n");
    let gate = MemoryGate::default()
        .with("disk.vmdk", text)
        .with("flat", vec![0; 4096 * 512]);
    let disk = open(&gate);
    let text = format!("{disk:?}");
    assert!(
        text.starts_with("Disk {") && text.contains("disk.vmdk"),
        "{text}"
    );
    assert!(text.contains("4096"), "{text}");
    assert!(text.len() < 200, "{} bytes", text.len());
    assert!(!text.contains("precious"));
}
