//! Files byte for byte: what writing changes in them, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use support::image::{MemoryGate, SparseImage, StreamImage, entry, put};
use support::{Numbers, content, range};
use vmdk_engine::{Allocation, Disk, Sector, ZeroMode};

const SECTOR: usize = 512;

/// The same writes to the same empty disk, done with qemu-img and qemu-io 10, gave these bytes.
#[test]
fn one_sector_and_one_grain_give_the_known_file() {
    let image = SparseImage::monolithic(2048).build();
    assert_eq!(
        image[..80],
        [
            0x4b, 0x44, 0x4d, 0x56, 0x01, 0, 0, 0, 0x03, 0, 0, 0, 0, 0x08, 0, 0, //
            0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, //
            0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, //
            0x15, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0, 0, 0, 0, 0, 0, 0, //
            0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x20, 0x0d, 0x0a, 0, 0, 0
        ]
    );
    let gate = MemoryGate::default().with("disk.vmdk", image.clone());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[0x11; SECTOR]).unwrap();
    disk.write_at(Sector::new(640), &[0x22; 65536]).unwrap();
    disk.close().unwrap();

    let after = gate.bytes("disk.vmdk");
    let mut expected = image;
    expected.resize(196_608, 0);
    for table in [22, 27] {
        put(&mut expected, table * SECTOR, &128_u32.to_le_bytes());
        put(&mut expected, table * SECTOR + 20, &256_u32.to_le_bytes());
    }
    put(&mut expected, 65536, &[0x11; SECTOR]);
    put(&mut expected, 131_072, &[0x22; 65536]);
    assert_eq!(entry(&after, 21, 0), 22);
    assert_eq!(entry(&after, 26, 0), 27);
    // The content id is new, in place; the long id ends in it. Nothing else differs.
    let text = |bytes: &[u8]| String::from_utf8(bytes[SECTOR..21 * SECTOR].to_vec()).unwrap();
    let (before, now) = (text(&expected), text(&after));
    let cid = &now[now.find("CID=").unwrap() + 4..][..8];
    assert_ne!(cid, "1f2e3d4c");
    let long = &now[now.find("longContentID = \"").unwrap() + 17..][..32];
    assert!(long.ends_with(cid));
    let adapted = before
        .replace("CID=1f2e3d4c", &format!("CID={cid}"))
        .replace("00112233445566778899aabb1f2e3d4c", long);
    assert_eq!(now, adapted);
    assert!(after[..SECTOR] == expected[..SECTOR], "the header");
    assert!(
        after[21 * SECTOR..] == expected[21 * SECTOR..],
        "tables and grains"
    );
}

#[test]
fn reading_changes_nothing() {
    let image = SparseImage::monolithic(300).build();
    for writable in [false, true] {
        let gate = MemoryGate::default().with("disk.vmdk", image.clone());
        let disk = Disk::open("disk.vmdk", &gate.options().writable(writable)).unwrap();
        assert!(content(&disk).iter().all(|byte| *byte == 0));
        disk.flush().unwrap();
        disk.close().unwrap();
        assert!(gate.bytes("disk.vmdk") == image);
    }
}

#[test]
fn the_content_id_changes_once_per_open_and_only_when_written() {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(300).build());
    let cid = || {
        let bytes = gate.bytes("disk.vmdk");
        let text = String::from_utf8_lossy(&bytes[512..1536]).into_owned();
        text[text.find("\nCID=").unwrap() + 5..][..8].to_owned()
    };
    let open = || Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    let first = cid();
    let disk = open();
    disk.write_at(Sector::ZERO, &[]).unwrap();
    assert_eq!(cid(), first);
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    let second = cid();
    assert_ne!(second, first);
    disk.write_at(Sector::new(1), &[2; 512]).unwrap();
    disk.close().unwrap();
    assert_eq!(cid(), second);
    let disk = open();
    disk.trim(range(0, 300)).unwrap();
    drop(disk);
    assert_ne!(cid(), second);
}

/// Byte 72 of the header: set in the file before a table changes, cleared when the disk is closed.
#[test]
fn the_dirty_byte_frames_changes_of_tables() {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(300).build());
    let dirty = || gate.bytes("disk.vmdk")[72];
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    assert_eq!(dirty(), 0);
    assert_eq!(
        entry(&gate.bytes("disk.vmdk"), 27, 0),
        0,
        "the table is written with the flush"
    );
    disk.flush().unwrap();
    assert_eq!(dirty(), 1);
    assert_eq!(entry(&gate.bytes("disk.vmdk"), 27, 0), 128);
    disk.close().unwrap();
    assert_eq!(dirty(), 0);
}

#[test]
fn freed_grains_are_entered_as_zeroed_where_the_flag_allows() {
    for (version, flags, freed) in [(1, 3, 0), (2, 7, 1)] {
        let image = SparseImage {
            version,
            flags,
            ..SparseImage::monolithic(300)
        };
        let gate = MemoryGate::default().with("disk.vmdk", image.build());
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        disk.write_at(Sector::ZERO, &[1; 300 * 512]).unwrap();
        disk.flush().unwrap();
        // Part of grain 0, all of grain 1, and the last grain, which the capacity cuts.
        disk.write_zeroes(range(1, 300), ZeroMode::MayFree).unwrap();
        disk.close().unwrap();
        let bytes = gate.bytes("disk.vmdk");
        for table in [22, 27] {
            let entries: Vec<u32> = (0..4).map(|grain| entry(&bytes, table, grain)).collect();
            assert_eq!(entries, [128, freed, freed, 0]);
        }
        assert_eq!(
            bytes.len(),
            (128 + 3 * 128) * SECTOR,
            "freed space is not used again"
        );
        assert!(
            bytes[256 * SECTOR..].iter().all(|byte| *byte == 0),
            "but it is given back"
        );
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        let states: Vec<_> = disk
            .extents(range(0, 300))
            .map(|extent| extent.unwrap().state)
            .collect();
        let behind = if freed == 1 {
            Allocation::Zero
        } else {
            Allocation::Hole
        };
        assert_eq!(states, [Allocation::Data, behind]);
    }
}

/// A directory entry of zero: the table comes into being at the end of the file, before its directory entry.
#[test]
fn missing_tables_are_made_and_the_header_is_left_alone() {
    let image = SparseImage {
        preallocated: false,
        ..SparseImage::monolithic(3 * 65536)
    };
    let before = image.build();
    let gate = MemoryGate::default().with("disk.vmdk", before.clone());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::new(2 * 65536 + 128), &[9; 512])
        .unwrap();
    disk.write_at(Sector::new(5), &[8; 512]).unwrap();
    disk.close().unwrap();
    let after = gate.bytes("disk.vmdk");
    assert!(after[..SECTOR] == before[..SECTOR]);
    let overhead = u32::try_from(image.overhead()).unwrap();
    let directory =
        |start: u64| -> Vec<u32> { (0..3).map(|table| entry(&after, start, table)).collect() };
    let tables = overhead + 256;
    assert_eq!(directory(image.directory()), [tables, 0, tables + 8]);
    assert_eq!(
        directory(image.redundant_directory()),
        [tables + 4, 0, tables + 12]
    );
    for table in [tables, tables + 4] {
        assert_eq!(entry(&after, table.into(), 0), overhead + 128);
    }
    for table in [tables + 8, tables + 12] {
        assert_eq!(entry(&after, table.into(), 1), overhead);
    }
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    let mut sector = [0; 512];
    disk.read_at(Sector::new(2 * 65536 + 128), &mut sector)
        .unwrap();
    assert_eq!(sector, [9; 512]);
}

#[test]
fn consecutive_new_grains_lie_together() {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(4096).build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    let mut data = vec![0; 1000 * SECTOR];
    Numbers::new(1).fill(&mut data);
    disk.write_at(Sector::new(200), &data).unwrap();
    disk.close().unwrap();
    let bytes = gate.bytes("disk.vmdk");
    let entries: Vec<u32> = (0..11).map(|grain| entry(&bytes, 27, grain)).collect();
    assert_eq!(
        entries,
        [0, 128, 256, 384, 512, 640, 768, 896, 1024, 1152, 0]
    );
    assert!(bytes[(128 + 72) * SECTOR..][..data.len()] == data);
}

/// All layouts of streams that real programs write: footer or tables in front, short last grain or padded.
#[test]
fn streams_of_every_layout_have_their_content() {
    let mut source = vec![0; 584 * SECTOR];
    let mut numbers = Numbers::new(7);
    source[..4096].fill(0x41);
    numbers.fill(&mut source[65536..131_072]);
    source[200_000..200_100].fill(1);
    numbers.fill(&mut source[4 * 65536 + 1000..4 * 65536 + 3000]);
    for pad_last in [false, true] {
        let image = StreamImage::build(&source, pad_last);
        assert_eq!(image.records[2], 0, "a grain of zeros has no record");
        let mut patched = image.bytes.clone();
        put(&mut patched, 56, &image.directory.to_le_bytes());
        for bytes in [image.bytes.clone(), patched] {
            let gate = MemoryGate::default().with("stream.vmdk", bytes);
            let disk = Disk::open("stream.vmdk", &gate.options()).unwrap();
            assert!(content(&disk) == source);
            // The same in pieces that fit no grain, so that the cache of inflated grains answers too.
            let mut pieces = vec![0; source.len()];
            for (number, piece) in pieces.chunks_mut(7 * SECTOR).enumerate() {
                let start = Sector::new(u64::try_from(number).unwrap() * 7);
                disk.read_at(start, piece).unwrap();
            }
            assert!(pieces == source);
            let states: Vec<_> = disk
                .extents(range(0, 584))
                .map(|extent| extent.unwrap())
                .map(|extent| (extent.range.start().get(), extent.state))
                .collect();
            assert_eq!(
                states,
                [
                    (0, Allocation::Data),
                    (256, Allocation::Hole),
                    (384, Allocation::Data)
                ]
            );
        }
    }
}
