//! Disks whose changes are tracked: reading leaves them alone, and the first change ends the tracking durably, so that
//! no backup program takes a list for complete that is not.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure here fails the test"
)]

mod support;

use support::image::{SECTOR, SparseImage, descriptor};
use support::world::World;
use support::{Numbers, content};
use vmdk_engine::{Disk, ErrorKind, Sector};

const TRACKING: &str = "\n# Change Tracking File\nchangeTrackPath=\"disk-ctk.vmdk\"\n";

fn tracked(text: &str) -> String {
    let text = text.replace("version=1", "version=3");
    text.replace(
        "\n# The Disk Data Base",
        &format!("{TRACKING}\n# The Disk Data Base"),
    )
}

fn sparse(flags: u32, text: &str) -> Vec<u8> {
    SparseImage {
        version: 3,
        flags,
        text: text.to_owned(),
        ..SparseImage::extent(2048)
    }
    .build()
}

fn split_text() -> String {
    let lines = [
        "RW 2048 SPARSE \"one\"",
        "RW 2048 SPARSE \"two\"",
        "RW 8 FLAT \"flat\" 0",
    ];
    tracked(&descriptor("custom", &lines))
}

/// Two sparse extents and a flat one, all tracked.
fn split(text: impl Into<Vec<u8>>) -> World {
    World::default()
        .with("disk.vmdk", text)
        .with("one", sparse(3, ""))
        .with("two", sparse(7, ""))
        .with("flat", [7; 8 * SECTOR])
        .with("disk-ctk.vmdk", b"the list".as_slice())
}

fn is_tracked(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("version=3") || text.contains("changeTrackPath")
}

fn version(header: &[u8]) -> u32 {
    u32::from_le_bytes(header[4..8].try_into().unwrap())
}

#[test]
fn opening_and_reading_change_nothing() {
    for is_writable in [false, true] {
        let world = split(split_text());
        let disk = Disk::open("disk.vmdk", &world.options().writable(is_writable)).unwrap();
        content(&disk);
        disk.flush().unwrap();
        disk.close().unwrap();
        assert_eq!(world.bytes("disk.vmdk"), split_text().as_bytes());
        assert_eq!(version(&world.bytes("one")), 3);
    }
}

#[test]
fn the_first_change_ends_the_tracking_everywhere() {
    for ending in ["\n", "\r\n"] {
        let text = split_text().replace('\n', ending);
        let world = split(text.clone());
        let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
        disk.write_at(Sector::new(4100), &[9; SECTOR]).unwrap();
        disk.close().unwrap();
        let written = world.bytes("disk.vmdk");
        assert_eq!(written.len(), text.len(), "nothing moves");
        assert!(!is_tracked(&written));
        let changed: Vec<_> = String::from_utf8(written)
            .unwrap()
            .lines()
            .zip(text.lines())
            .filter(|(new, old)| new != old)
            .map(|(new, _)| new.trim_end().split('=').next().unwrap().to_owned())
            .collect();
        assert_eq!(changed, ["version", "CID", "#", "ddb.longContentID "]);
        // Zeroed grains need version 2.
        assert_eq!(version(&world.bytes("one")), 1);
        assert_eq!(version(&world.bytes("two")), 2);
        assert_eq!(world.bytes("disk-ctk.vmdk"), b"the list");

        let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
        assert_eq!(content(&disk)[4100 * SECTOR..4101 * SECTOR], [9; SECTOR]);
        disk.write_at(Sector::new(5), &[5; SECTOR]).unwrap();
        disk.close().unwrap();
    }
}

#[test]
fn an_embedded_descriptor_is_changed_in_its_place() {
    let text = tracked(&descriptor(
        "monolithicSparse",
        &["RW 2048 SPARSE \"disk.vmdk\""],
    ));
    for text in [
        text.clone(),
        text.trim_end().to_owned() + "\nCHANGETRACKPATH = again",
    ] {
        let world = World::default().with("disk.vmdk", sparse(7, &text));
        let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
        disk.write_zeroes(support::range(0, 2048), vmdk_engine::ZeroMode::MustAllocate)
            .unwrap();
        disk.close().unwrap();
        let bytes = world.bytes("disk.vmdk");
        assert_eq!(version(&bytes), 2);
        let written = &bytes[SECTOR..SECTOR + text.len() + 1];
        assert!(!is_tracked(written));
        assert!(!String::from_utf8_lossy(written).contains("TRACK"));
        assert_eq!(written.last(), Some(&0));
    }
}

/// Without a word of tracking, nobody knows what version 3 stands for.
#[test]
fn version_3_alone_is_only_read() {
    let text = split_text()
        .replace("version=3", "version=1")
        .replace("changeTrackPath", "#");
    let world = split(text);
    content(&Disk::open("disk.vmdk", &world.options()).unwrap());
    let error = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
}

/// Wherever the power fails: as long as the disk says that its changes are tracked, nothing of it has changed.
#[test]
fn no_crash_leaves_a_list_that_lacks_a_change() {
    let world = split(split_text());
    let before = content(&Disk::open("disk.vmdk", &world.options()).unwrap());
    let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
    for sector in [0, 2048, 4096, 4103] {
        disk.write_at(Sector::new(sector), &[9; SECTOR]).unwrap();
    }
    disk.flush().unwrap();
    disk.close().unwrap();
    let mut ends = [0; 3];
    for events in 0..=world.len() {
        for seed in 0..8 {
            let world = world.crashed(events, &mut Numbers::new(seed));
            let text = world.bytes("disk.vmdk");
            let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
            let is_changed = content(&disk) != before;
            drop(disk);
            match (is_tracked(&text), is_changed) {
                (true, false) => ends[0] += 1,
                (false, false) => ends[1] += 1,
                (false, true) => ends[2] += 1,
                (true, true) => panic!("crashed after {events}: a change that nobody tracks"),
            }
            let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
            disk.write_at(Sector::new(1), &[1; SECTOR]).unwrap();
            disk.close().unwrap();
            assert!(!is_tracked(&world.bytes("disk.vmdk")));
        }
    }
    assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
}
