//! Descriptors, the sizes in them, and the files that they name.

use super::support::image::{child_of, descriptor};
use super::*;
use FindingKind::{Descriptor, FileCut, MissingFile, Size};
use Severity::{Error, Fatal};

fn embedded(text: &str) -> World {
    let mut image = good();
    image[SECTOR..21 * SECTOR].fill(0);
    put(&mut image, SECTOR, text.as_bytes());
    world_of(image)
}

fn good_text() -> String {
    let good = good();
    let text = good[SECTOR..21 * SECTOR].split(|byte| *byte == 0).next();
    String::from_utf8(text.unwrap().to_vec()).unwrap()
}

#[test]
fn embedded_texts_are_made_anew_of_the_header() {
    let text = good_text();
    let content = readable(&world_of(good()), "disk.vmdk");
    for (name, damaged) in [
        ("no version", text.replace("version=1", "verslon=1")),
        ("cut by a NUL", text.replace("# Extent description", "\0")),
        ("no extent", text.replace("RW 2048", "# 2048")),
        (
            "two extents",
            text.replace("RW 2048", "RW 2048 ZERO\nRW 2048"),
        ),
        ("rubbish", "\u{1}\u{2}\u{3}".repeat(100)),
        ("content id", text.replacen("CID=", "CID=xyz", 1)),
        ("carriage returns", text.replace('\n', "\r")),
    ] {
        let world = embedded(&damaged);
        let report = repaired(name, &world);
        assert_eq!(faults(&report), [(Fatal, Descriptor)], "{name}");
        assert!(readable(&world, "disk.vmdk") == content, "{name}");
        let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
        assert_eq!(disk.metadata("adapterType").as_deref(), Some("lsilogic"));
        assert_eq!(disk.metadata("geometry.heads").as_deref(), Some("64"));
    }
}

#[test]
fn texts_that_nothing_can_be_made_of() {
    let text = good_text();
    for (name, damaged) in [
        ("newer version", text.replace("version=1", "version=9")),
        ("encrypted", text.clone() + "encryption.keySafe=\"x\"\n"),
        ("unknown extent", text.replace("SPARSE", "CLOUD")),
        (
            "a child's",
            text.replace("version=1", "")
                .replace("parentCID=ffffffff", "parentCID=12345678"),
        ),
        (
            "a child's with two extents",
            text.replace("RW 2048", "RW 2048 ZERO\nRW 2048").replace(
                "parentCID=ffffffff",
                "parentCID=12345678\nparentFileNameHint=\"p\"",
            ),
        ),
    ] {
        let report = refused(name, &embedded(&damaged));
        assert!(
            faults(&report).contains(&(Fatal, Descriptor)),
            "{name}: {}",
            lines(&report)
        );
    }
}

/// Each part of them is in order, but not the whole.
#[test]
fn disks_that_nobody_opens_are_not_clean() {
    let text = good_text();
    let child = |text: &str| child_of(text, 2, 0x1f2e_3d4c, "base.vmdk");
    let native = child(&text).replace("createType", "isNativeSnapshot=\"yes\"\ncreateType");
    let flat = child(&descriptor("monolithicFlat", &["RW 2048 FLAT \"flat\" 0"]));
    for (name, world, text) in [
        ("native snapshot", embedded(&native), "storage array"),
        (
            "sector size",
            embedded(&(text.clone() + "ddb.logicalSectorSize = \"1024\"\n")),
            "logicalSectorSize",
        ),
        (
            "inaccessible",
            embedded(&text.replace("RW 2048", "NOACCESS 2048")),
            "one sparse extent",
        ),
        (
            "flat child",
            World::default()
                .with("disk.vmdk", flat)
                .with("flat", vec![1; 2048 * SECTOR]),
            "let a parent show",
        ),
    ] {
        let world = world.with("base.vmdk", good());
        let error = Disk::open("disk.vmdk", &world.options()).unwrap_err();
        assert!(error.to_string().contains(text), "{name}: {error}");
        let report = refused(name, &world);
        assert_eq!(faults(&report), [(Fatal, Descriptor)], "{name}");
        assert!(report.findings()[0].text.contains(text), "{name}");
    }
}

/// A file without a text may be one extent of a disk, which must not become a disk by mistake.
#[test]
fn an_extent_becomes_a_disk_only_with_permission() {
    let world = embedded("");
    let report = refused("no text", &world);
    assert!(matches!(
        report.findings()[0].repair,
        Repair::NeedsPermission(_)
    ));
    let options = repair_options(&world).allow_loss(true);
    assert!(repair("disk.vmdk", &options).unwrap().is_clean());
    assert_sound("rescued", &world);
    assert!(readable(&world, "disk.vmdk") == readable(&world_of(good()), "disk.vmdk"));

    let world = world_of(SparseImage::extent(2048).build());
    let report = repair("disk.vmdk", &repair_options(&world).allow_loss(true)).unwrap();
    assert!(matches!(
        report.findings()[0].repair,
        Repair::NotRepairable(_)
    ));
}

#[test]
fn a_missing_content_id_is_added() {
    let text = good_text();
    let without = |text: &str| {
        let lines = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("CID="));
        lines.collect::<String>()
    };
    let report = repaired("embedded", &embedded(&without(&text)));
    assert_eq!(faults(&report), [(Error, Descriptor)]);

    let text = without(&descriptor("monolithicFlat", &["RW 8 FLAT \"flat\" 0"]));
    let world = World::default()
        .with("disk.vmdk", text.clone())
        .with("flat", [5; 8 * SECTOR]);
    let report = repaired("alone", &world);
    assert_eq!(faults(&report), [(Error, Descriptor)]);
    let now = String::from_utf8(world.bytes("disk.vmdk")).unwrap();
    let (_, behind) = now.split_once("version=1\nCID=").unwrap();
    assert_eq!(behind.find('\n'), Some(8));
    assert_eq!(without(&now), text);
    assert_eq!(world.names(), ["disk.vmdk", "flat"]);
}

/// A disk that was growing when its program stopped: the header comes first, the text last.
#[test]
fn sizes_that_differ() {
    let text = good_text();
    let grown = embedded(&text.replace("RW 2048", "RW 1024"));
    let report = repair("disk.vmdk", &repair_options(&grown)).unwrap();
    assert_eq!(faults(&report), [(Fatal, Size)]);
    assert!(report.is_clean(), "{}", lines(&report));
    assert_sound("grown", &grown);
    assert!(readable(&grown, "disk.vmdk") == readable(&world_of(good()), "disk.vmdk"));

    let report = refused(
        "line too large",
        &embedded(&text.replace("RW 2048", "RW 4096")),
    );
    assert_eq!(faults(&report), [(Fatal, Size)]);
    let child = text.replace("RW 2048", "RW 1024").replace(
        "parentCID=ffffffff",
        "parentCID=12345678\nparentFileNameHint=\"p\"",
    );
    let report = refused("a child's", &embedded(&child));
    assert!(faults(&report).contains(&(Fatal, Size)));
    // Programs round the header up; the line counts.
    let report = check(
        "disk.vmdk",
        &check_options(&embedded(&text.replace("RW 2048", "RW 2047"))),
    );
    assert!(report.unwrap().is_clean());

    let lines = ["RW 1024 SPARSE \"a\"", "RW 8 ZERO", "RW 1024 SPARSE \"b\""];
    let extent = SparseImage::extent(2048).build();
    let world = World::default()
        .with("disk.vmdk", descriptor("twoGbMaxExtentSparse", &lines))
        .with("a", SparseImage::extent(1024).build())
        .with("b", extent);
    let report = repair("disk.vmdk", &repair_options(&world)).unwrap();
    assert_eq!(faults(&report), [(Fatal, Size)]);
    assert_sound("split", &world);
    let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
    assert_eq!(disk.capacity().get(), 1024 + 8 + 2048);
}

#[test]
fn files_that_are_missing_or_short() {
    let lines = ["RW 8 FLAT \"a\" 0", "RW 8 FLAT \"b\" 4"];
    let world = World::default()
        .with("disk.vmdk", descriptor("monolithicFlat", &lines))
        .with("a", [1; 8 * SECTOR]);
    let report = refused("missing", &world);
    assert_eq!(faults(&report), [(Fatal, MissingFile)]);
    assert_eq!(report.findings()[0].sectors.unwrap().start().get(), 8);

    let world = World::default()
        .with("disk.vmdk", descriptor("monolithicFlat", &lines))
        .with("a", [1; 8 * SECTOR])
        .with("b", [2; 7 * SECTOR]);
    let report = refused("short", &world);
    assert_eq!(faults(&report), [(Fatal, FileCut)]);
    let sectors = report.findings()[0].sectors.unwrap();
    assert_eq!((sectors.start().get(), sectors.end().get()), (11, 16));
    let options = repair_options(&world).allow_loss(true);
    assert!(repair("disk.vmdk", &options).unwrap().is_clean());
    assert_sound("extended", &world);
    assert_eq!(world.bytes("b").len(), 12 * SECTOR);

    let twice = ["RW 4 FLAT \"a\" 0", "RW 4 FLAT \"a\" 4"];
    let world = World::default()
        .with("disk.vmdk", descriptor("monolithicFlat", &twice))
        .with("a", [1; 8 * SECTOR]);
    assert_eq!(faults(&refused("twice", &world)), [(Error, Descriptor)]);
    let world = World::default().with("disk.vmdk", "what is this");
    assert_eq!(
        faults(&refused("no descriptor", &world)),
        [(Fatal, Descriptor)]
    );
}

#[test]
fn a_disk_in_use_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    std::fs::write(&path, good()).unwrap();
    let disk = Disk::open(&path, &vmdk_engine::OpenOptions::new().writable(true)).unwrap();
    let error = repair(&path, &RepairOptions::new()).unwrap_err();
    assert_eq!(error.kind(), vmdk_engine::ErrorKind::AlreadyLocked);
    assert_eq!(error.operation(), Some(vmdk_engine::Operation::Repair));
    let error = check(&path, &CheckOptions::new()).unwrap_err();
    assert_eq!(error.kind(), vmdk_engine::ErrorKind::AlreadyLocked);
    disk.close().unwrap();
    assert!(repair(&path, &RepairOptions::new()).unwrap().is_clean());
    let error = check(scratch.path().join("gone"), &CheckOptions::new()).unwrap_err();
    assert_eq!(error.kind(), vmdk_engine::ErrorKind::NotFound);
}
