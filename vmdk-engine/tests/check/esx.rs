//! The delta formats of ESX: COWD is repaired, SESparse only looked at.

use super::support::content;
use super::support::esx::{
    CowdImage, SE_DIRECTORY, SE_TABLES, SeSparseImage, cowd_text, put_long, se_sparse_text,
};
use super::support::image::{descriptor, entry};
use super::*;
use FindingKind::{
    DirectoryEntry, FileCut, FreeSector, Header, Overlap, SeSparse, TableEntry, UncleanShutdown,
};
use Severity::{Error, Fatal};

/// A child over a parent filled with 0x11.
fn over_ones(text: String, delta: Vec<u8>) -> World {
    World::default()
        .with("disk.vmdk", text)
        .with("delta", delta)
        .with(
            "base.vmdk",
            descriptor("monolithicFlat", &["RW 8192 FLAT \"flat\" 0"]),
        )
        .with("flat", vec![0x11; 8192 * SECTOR])
}

/// Header 0..4, directory 4, table 5 of the second half, grains 37 and 38.
fn cowd() -> Vec<u8> {
    CowdImage::new(8192, 1)
        .fill(4101, 1)
        .fill(4102, 2)
        .zero(4103)
        .build()
}

#[test]
fn copy_on_write_extents_are_repaired() {
    let good = cowd();
    let free = |sector: u32| patched(&good, &[(28, sector.to_le_bytes().to_vec())]);
    for (name, delta, expected) in [
        ("free sector", free(20), (Error, FreeSector)),
        ("free sector in the table", free(36), (Error, FreeSector)),
        (
            "grain in the header",
            with_entries(&good, &[(5, 5, 3)]),
            (Error, TableEntry),
        ),
        (
            "grain behind the end",
            with_entries(&good, &[(5, 5, 99)]),
            (Error, TableEntry),
        ),
        (
            "two grains",
            with_entries(&good, &[(5, 9, 37)]),
            (Error, Overlap),
        ),
        (
            "a grain in the table",
            with_entries(&good, &[(5, 9, 6)]),
            (Error, DirectoryEntry),
        ),
        (
            "one table twice",
            with_entries(&good, &[(4, 0, 5)]),
            (Error, DirectoryEntry),
        ),
        (
            "one table half in the other",
            {
                let mut image = good.clone();
                image.resize(80 * SECTOR, 0);
                with_entries(&image, &[(4, 0, 30)])
            },
            (Error, DirectoryEntry),
        ),
    ] {
        let world = over_ones(cowd_text(8192), delta);
        let report = repaired(name, &world);
        assert!(
            faults(&report).contains(&expected),
            "{name}: {}",
            lines(&report)
        );
        let now = world.bytes("delta");
        let free = u32::from_le_bytes(now[28..32].try_into().unwrap());
        assert!(
            usize::try_from(free).unwrap() * SECTOR >= now.len(),
            "{name}: {free}"
        );
    }
    // Grain 3 is the end of the table and the beginning of grain 0, and the repair clears entries in that end.
    let both = CowdImage::new(8192, 8).fill(0, 1).build();
    let both = with_entries(&both, &[(5, 3, 31), (5, 3900, 1000)]);
    let world = over_ones(cowd_text(8192), both);
    let before = content(&Disk::open("disk.vmdk", &world.options()).unwrap());
    let report = repaired("a grain in the table and in another", &world);
    assert!(
        faults(&report).contains(&(Error, DirectoryEntry)),
        "{}",
        lines(&report)
    );
    let after = content(&Disk::open("disk.vmdk", &world.options()).unwrap());
    assert!(before == after);

    let world = over_ones(cowd_text(8192), good[..good.len() - 300].to_vec());
    assert_eq!(faults(&repaired("cut", &world)), [(Error, FileCut)]);
    for mark in [[1, 0, 0, 0], [0, 1, 0, 0]] {
        let dirty = patched(&good, &[(1648, mark.to_vec())]);
        let world = over_ones(cowd_text(8192), dirty);
        let report = repaired("dirty", &world);
        assert_eq!(report.findings()[0].kind, UncleanShutdown);
        assert!(world.bytes("delta") == good);
        assert_eq!(report.findings().len(), 1, "it was repaired once");
    }
}

#[test]
fn copy_on_write_extents_that_nothing_can_be_made_of() {
    let good = cowd();
    for (name, delta) in [
        ("grain size", patched(&good, &[(16, vec![3])])),
        ("directory in the header", patched(&good, &[(20, vec![1])])),
        ("cut header", good[..1000].to_vec()),
    ] {
        let report = refused(name, &over_ones(cowd_text(8192), delta));
        assert!(faults(&report).contains(&(Fatal, Header)), "{name}");
    }
    let world = over_ones(cowd_text(8192), with_entries(&good, &[(4, 1, 1)]));
    let report = refused("table lost", &world);
    assert_eq!(faults(&report), [(Error, DirectoryEntry)]);
    let options = repair_options(&world).allow_loss(true);
    assert!(repair("disk.vmdk", &options).unwrap().is_clean());
    assert_eq!(entry(&world.bytes("delta"), 4, 1), 0);
    assert_sound("given up", &world);
}

#[test]
fn space_efficient_extents_are_only_looked_at() {
    let good = SeSparseImage::new(8192).fill(5, 0, 1).fill(6, 2, 2).build();
    let world = over_ones(se_sparse_text(8192), good.clone());
    assert!(
        check("disk.vmdk", &check_options(&world))
            .unwrap()
            .is_clean()
    );
    let with = |sector, index, value| {
        let mut image = good.clone();
        put_long(&mut image, sector, index, value);
        image
    };
    for (name, delta, severity, text) in [
        ("journal", with(1, 3, 1), Fatal, "journal"),
        ("grain size", with(0, 3, 16), Fatal, "grain size"),
        (
            "directory entry",
            with(SE_DIRECTORY, 0, 7),
            Error,
            "directory",
        ),
        (
            "no such table",
            with(SE_DIRECTORY, 0, 1 << 60 | 99),
            Error,
            "directory",
        ),
        (
            "entry",
            with(SE_TABLES, 9, 9 << 60),
            Error,
            "1 entries are not valid",
        ),
        (
            "behind the end",
            with(SE_TABLES, 9, 3 << 60 | 900 << 48),
            Error,
            "behind the end",
        ),
        (
            "twice",
            with(SE_TABLES, 9, 3 << 60 | 2 << 48),
            Error,
            "place of another",
        ),
    ] {
        let world = over_ones(se_sparse_text(8192), delta);
        let report = refused(name, &world);
        assert_eq!(faults(&report), [(severity, SeSparse)], "{name}");
        let finding = &report.findings()[0];
        assert!(finding.text.contains(text), "{name}: {finding}");
    }
}
