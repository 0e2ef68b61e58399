//! Parents: looked at, named where something is wrong with them, and never changed.

use super::support::image::{child_of, descriptor};
use super::*;
use FindingKind::{Parent, TableEntry};
use Severity::Error;

fn child(capacity: u64, parent: u32, hint: &str) -> Vec<u8> {
    let image = SparseImage::monolithic(capacity);
    let text = child_of(&image.text, 2, parent, hint);
    SparseImage { text, ..image }.build()
}

fn base() -> Vec<u8> {
    SparseImage::monolithic(2048).build()
}

#[test]
fn parents_that_are_wrong_are_named() {
    const BASE: u32 = 0x1f2e_3d4c;
    for (name, world, text) in [
        (
            "missing",
            world_of(child(2048, BASE, "base.vmdk")),
            "base.vmdk",
        ),
        (
            "other content",
            world_of(child(2048, 7, "base.vmdk")).with("base.vmdk", base()),
            "content id",
        ),
        (
            "other size",
            world_of(child(2048, BASE, "base.vmdk"))
                .with("base.vmdk", SparseImage::monolithic(1024).build()),
            "1024",
        ),
        ("itself", world_of(child(2048, 2, "disk.vmdk")), "disk.vmdk"),
        (
            "no disk",
            world_of(child(2048, BASE, "base.vmdk")).with("base.vmdk", "nothing"),
            "not a virtual disk",
        ),
    ] {
        let report = refused(name, &world);
        assert_eq!(faults(&report), [(Error, Parent)], "{name}");
        let finding = &report.findings()[0];
        assert!(finding.text.contains(text), "{name}: {finding}");
        assert!(matches!(finding.repair, Repair::NotRepairable(_)));
        let alone = check_options(&world).single_link(true);
        assert!(check("disk.vmdk", &alone).unwrap().is_clean(), "{name}");
    }
}

#[test]
fn damage_of_a_parent_is_found_and_left_to_its_own_repair() {
    let damaged = with_entries(&base(), &[(22, 3, 2), (27, 3, 2)]);
    // The child is damaged too: that is repaired.
    let own = with_entries(
        &child(2048, 0x1f2e_3d4c, "base.vmdk"),
        &[(22, 5, 2), (27, 5, 2)],
    );
    let world = world_of(own).with("base.vmdk", damaged.clone());
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    let places: Vec<_> = report
        .findings()
        .iter()
        .map(|finding| finding.path.to_str())
        .collect();
    assert_eq!(places, [Some("disk.vmdk"), Some("base.vmdk")]);
    assert_eq!(faults(&report), [(Error, TableEntry), (Error, TableEntry)]);

    let report = repair("disk.vmdk", &repair_options(&world)).unwrap();
    assert!(matches!(report.findings()[0].repair, Repair::Repaired(_)));
    assert!(matches!(
        report.findings()[1].repair,
        Repair::NotRepairable(_)
    ));
    assert!(world.bytes("base.vmdk") == damaged);
    let report = repair("base.vmdk", &repair_options(&world)).unwrap();
    assert!(report.is_clean());
    assert_sound("after both", &world);
}

#[test]
fn flat_parents_are_looked_at_too() {
    let lines = ["RW 2048 FLAT \"flat\" 0"];
    let world = world_of(child(2048, 0x1f2e_3d4c, "base.vmdk"))
        .with("base.vmdk", descriptor("monolithicFlat", &lines))
        .with("flat", vec![1; 2048 * SECTOR]);
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    assert_eq!(report.findings(), []);
}

/// Each parent lies where the link that names it may have it from, but the disk itself may not.
#[test]
fn parents_are_looked_at_wherever_their_children_have_them() {
    const BASE: u32 = 0x1f2e_3d4c;
    let scratch = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: Vec<u8>| {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    put(
        "two/deep/base.vmdk",
        with_entries(&base(), &[(27, 5, 3), (22, 5, 3)]),
    );
    put("two/parent.vmdk", child(2048, BASE, "deep/base.vmdk"));
    let disk = put("one/disk.vmdk", child(2048, 2, "../two/parent.vmdk"));
    let report = check(disk, &CheckOptions::new()).unwrap();
    assert_eq!(faults(&report), [(Error, TableEntry)], "{}", lines(&report));
    assert!(report.findings()[0].path.ends_with("two/deep/base.vmdk"));
}
