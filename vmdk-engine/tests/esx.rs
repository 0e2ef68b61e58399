//! The delta formats of ESX: worked examples, damage, and qemu-img reading what the tests build.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::process::Command;

use support::esx::{CowdImage, SeGrain, SeSparseImage, cowd_text, over_ones, se_sparse_text};
use support::image::{descriptor, put};
use support::{Numbers, content, has_qemu, range, run};
use vmdk_engine::{Allocation, Disk, DiskKind, ErrorKind, MapExtent, Sector, ZeroMode};

fn sector(content: &[u8], number: usize) -> &[u8] {
    &content[number * 512..(number + 1) * 512]
}

fn map(disk: &Disk, start: u64, end: u64) -> Vec<(u64, u64, Allocation, u32)> {
    disk.extents(range(start, end))
        .map(|extent| {
            let MapExtent {
                range,
                state,
                depth,
                ..
            } = extent.unwrap();
            (range.start().get(), range.end().get(), state, depth)
        })
        .collect()
}

#[test]
fn a_cowd_extent_byte_for_byte() {
    let image = CowdImage::new(8192, 1)
        .fill(4101, 0xa5)
        .fill(4102, 0x5a)
        .zero(4103)
        .build();
    let head = [
        0x43, 0x4f, 0x57, 0x44, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0x20, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2,
        0, 0, 0, 0x27, 0, 0, 0,
    ];
    let mut expected = vec![0; 19968];
    put(&mut expected, 0, &head);
    put(&mut expected, 2048, &[0, 0, 0, 0, 5, 0, 0, 0]);
    let entries = [0x25, 0, 0, 0, 0x26, 0, 0, 0, 1, 0, 0, 0];
    put(&mut expected, 2560 + 5 * 4, &entries);
    expected[18944..19456].fill(0xa5);
    expected[19456..19968].fill(0x5a);
    assert!(image == expected);

    let gate = over_ones(cowd_text(8192), image, 8192);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 8192 * 512];
    expected[4101 * 512..4102 * 512].fill(0xa5);
    expected[4102 * 512..4103 * 512].fill(0x5a);
    expected[4103 * 512..4104 * 512].fill(0);
    assert!(content(&disk) == expected);
    assert_eq!(
        map(&disk, 4000, 8192),
        [
            (4000, 4101, Allocation::Data, 1),
            (4101, 4103, Allocation::Data, 0),
            (4103, 4104, Allocation::Zero, 0),
            (4104, 8192, Allocation::Data, 1),
        ]
    );
    let info = disk.info();
    assert_eq!(info.kind, DiskKind::VmfsSparse);
    assert_eq!(info.links, 2);
    assert_eq!(info.preferred_io.get(), 8);
    assert_eq!(info.parent_hint.as_deref(), Some("base.vmdk"));

    let alone = Disk::open("child.vmdk", &gate.options().single_link(true)).unwrap();
    assert_eq!(alone.info().links, 1);
    assert_eq!(sector(&content(&alone), 4101), [0xa5; 512]);
    assert_eq!(sector(&content(&alone), 0), [0; 512]);
    assert_eq!(map(&alone, 0, 100), [(0, 100, Allocation::Hole, 0)]);
}

#[test]
fn an_se_sparse_extent_byte_for_byte() {
    let mut image = SeSparseImage::new(65536)
        .fill(4096, 0, 0xa1)
        .fill(4097, 2, 0xc3);
    image.grains.insert(4098, SeGrain::Zero);
    image.grains.insert(4099, SeGrain::Unmapped);
    let bytes = image.build();
    let long = |sector: usize, index: usize| {
        let position = sector * 512 + index * 8;
        u64::from_le_bytes(bytes[position..position + 8].try_into().unwrap())
    };
    assert_eq!(long(4096, 0), 0);
    assert_eq!(long(4096, 1), 0x1000_0000_0000_0000);
    let entries: Vec<u64> = (0..5).map(|index| long(6144, index)).collect();
    assert_eq!(
        entries,
        [
            0x3000_0000_0000_0000,
            0x3002_0000_0000_0000,
            0x2000_0000_0000_0000,
            0x1001_0000_0000_0000,
            0
        ]
    );
    assert_eq!(bytes[12288 * 512..][..512], [0xa1; 512]);
    assert_eq!(bytes[12304 * 512..][..512], [0xc3; 512]);

    let gate = over_ones(se_sparse_text(65536), bytes, 65536);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 65536 * 512];
    for (first, byte) in [(32768, 0xa1), (32776, 0xc3), (32784, 0), (32792, 0)] {
        expected[first * 512..(first + 8) * 512].fill(byte);
    }
    assert!(content(&disk) == expected);
    assert_eq!(
        map(&disk, 32000, 33000),
        [
            (32000, 32768, Allocation::Data, 1),
            (32768, 32784, Allocation::Data, 0),
            (32784, 32800, Allocation::Zero, 0),
            (32800, 33000, Allocation::Data, 1),
        ]
    );
    assert_eq!(disk.info().kind, DiskKind::SeSparse);
    let error = Disk::open("child.vmdk", &gate.options().writable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// The grain index of an entry is stored in two parts.
#[test]
fn a_large_grain_index_is_put_together() {
    let image = SeSparseImage::new(65536).fill(0, 4096 + 5, 0x77).build();
    let gate = over_ones(se_sparse_text(65536), image, 65536);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut buffer = [0; 8 * 512];
    disk.read_at(Sector::ZERO, &mut buffer).unwrap();
    assert_eq!(buffer, [0x77; 8 * 512]);
}

/// What the header of a COWD extent notes while it is written, and that space behind the noted end is not used.
#[test]
fn cowd_headers_are_kept_up_to_date() {
    let mut image = CowdImage::new(8192, 1).fill(4101, 0xa5).build();
    put(&mut image, 28, &100_u32.to_le_bytes());
    let gate = over_ones(cowd_text(8192), image, 8192);
    let options = gate.options().writable(true);
    let disk = Disk::open("child.vmdk", &options).unwrap();
    disk.write_at(Sector::new(7), &[7; 1024]).unwrap();
    disk.write_at(Sector::new(4102), &[8; 512]).unwrap();
    disk.flush().unwrap();
    assert_eq!(gate.bytes("delta")[1648], 1);
    disk.write_zeroes(range(4101, 4102), ZeroMode::MayFree)
        .unwrap();
    disk.trim(range(8000, 8001)).unwrap();
    disk.close().unwrap();
    let image = gate.bytes("delta");
    assert_eq!(image[1648], 0);
    // Three sectors of data and a table.
    assert_eq!(image[28..32], (100_u32 + 3 + 32).to_le_bytes());
    assert_eq!(image.len(), 135 * 512);
    let entry = |sector, index| support::image::entry(&image, sector, index);
    assert_eq!(entry(4, 0), 103);
    assert_eq!((entry(103, 7), entry(103, 8)), (100, 101));
    assert_eq!((entry(5, 5), entry(5, 6)), (1, 102));
    assert_eq!(entry(5, 8000 - 4096), 1);
    let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
    let mut expected = vec![0x11; 8192 * 512];
    expected[7 * 512..9 * 512].fill(7);
    expected[4101 * 512..4102 * 512].fill(0);
    expected[4102 * 512..4103 * 512].fill(8);
    expected[8000 * 512..8001 * 512].fill(0);
    assert!(content(&disk) == expected);
}

#[test]
fn qemu_reads_the_same() {
    if !has_qemu() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let mut numbers = Numbers::new(11);
    for (round, capacity) in [8192_u64, 70_000, 40_960].into_iter().enumerate() {
        let mut flat = vec![0; usize::try_from(capacity).unwrap() * 512];
        numbers.fill(&mut flat);
        let line = format!("RW {capacity} FLAT \"flat\" 0");
        fs::write(
            folder.join("base.vmdk"),
            descriptor("monolithicFlat", &[&line]),
        )
        .unwrap();
        fs::write(folder.join("flat"), &flat).unwrap();

        // Entries for zeros only where a grain is a sector: else qemu-img 10 shows the header and the directory there.
        let grain = [1, 8, 16][round];
        let mut cowd = CowdImage::new(u32::try_from(capacity).unwrap(), grain);
        let mut se_sparse = SeSparseImage::new(capacity);
        for index in 0..200 {
            let mut bytes = vec![0; usize::try_from(grain).unwrap() * 512];
            numbers.fill(&mut bytes);
            let number = numbers.below(capacity.div_ceil(u64::from(grain)));
            cowd.grains
                .insert(number, (grain > 1 || index % 3 != 0).then_some(bytes));
            let mut bytes = vec![0; 8 * 512];
            numbers.fill(&mut bytes);
            let state = match index % 4 {
                0 => SeGrain::Zero,
                1 => SeGrain::Unmapped,
                _ => SeGrain::Data(index, bytes),
            };
            se_sparse
                .grains
                .insert(numbers.below(capacity.div_ceil(8)), state);
        }
        for (text, delta) in [
            (cowd_text(capacity), cowd.build()),
            (se_sparse_text(capacity), se_sparse.build()),
        ] {
            let path = folder.join("child.vmdk");
            fs::write(&path, &text).unwrap();
            fs::write(folder.join("delta"), delta).unwrap();
            let raw = folder.join("raw");
            let convert = || {
                run(Command::new("qemu-img")
                    .args(["convert", "-f", "vmdk", "-O", "raw"])
                    .args([&path, &raw]));
                fs::read(&raw).unwrap()
            };
            let options = vmdk_engine::OpenOptions::new();
            let disk = Disk::open(&path, &options).unwrap();
            let (ours, theirs) = (content(&disk), convert());
            let differs = ours
                .chunks(512)
                .zip(theirs.chunks(512))
                .position(|(one, other)| one != other);
            assert_eq!((ours.len(), differs), (theirs.len(), None), "{text}");
            drop(disk);
            if text.contains("SESPARSE") {
                continue;
            }
            let disk = Disk::open(&path, &options.writable(true)).unwrap();
            for _ in 0..50 {
                let start = numbers.below(capacity - 40);
                let mut bytes = vec![0; usize::try_from(1 + numbers.below(39)).unwrap() * 512];
                numbers.fill(&mut bytes);
                disk.write_at(Sector::new(start), &bytes).unwrap();
                let start = numbers.below(capacity - 40);
                let zeros = range(start, start + 1 + numbers.below(39));
                disk.write_zeroes(zeros, ZeroMode::MayFree).unwrap();
            }
            let ours = content(&disk);
            disk.close().unwrap();
            assert!(ours == convert(), "written: {text}");
        }
    }
}

/// Random damage to the metadata of a delta ends in a result, whatever it is.
#[test]
fn damaged_deltas_end_in_a_result() {
    let cowd = CowdImage::new(8192, 1).fill(5, 1).fill(4101, 2).zero(4103);
    let se_sparse = SeSparseImage::new(8192).fill(5, 0, 1).fill(6, 5000, 2);
    let mut numbers = Numbers::new(3);
    // Where something stands: headers, directory, tables. Not the first free sector of a COWD extent: a large one only
    // makes a large hole, which files in memory do not have.
    let places = [
        (
            cowd_text(8192),
            cowd.build(),
            [(0, 28), (1640, 16), (2048, 8), (2560, 64)],
        ),
        (
            se_sparse_text(8192),
            se_sparse.build(),
            [(0, 208), (512, 32), (4096 * 512, 16), (6144 * 512, 64)],
        ),
    ];
    for (text, good, places) in places {
        for round in 0..200_usize {
            let mut image = good.clone();
            for _ in 0..1 + numbers.below(3) {
                let (start, length) = places[round % places.len()];
                let at = start + usize::try_from(numbers.below(length)).unwrap();
                image[at] = u8::try_from(numbers.below(256)).unwrap();
            }
            let gate = over_ones(text.clone(), image, 8192);
            for writable in [false, true] {
                let options = gate.options().writable(writable);
                let Ok(disk) = Disk::open("child.vmdk", &options) else {
                    continue;
                };
                let mut buffer = vec![0; 64 * 512];
                for start in (0..8192).step_by(64) {
                    disk.read_at(Sector::new(start), &mut buffer).ok();
                }
                let mut end = 0;
                for extent in disk.extents(range(0, 8192)).map_while(Result::ok) {
                    assert_eq!(extent.range.start().get(), end);
                    end = extent.range.end().get();
                }
                if writable {
                    disk.write_at(Sector::new(4090), &buffer).ok();
                    disk.close().ok();
                }
            }
        }
    }
}
