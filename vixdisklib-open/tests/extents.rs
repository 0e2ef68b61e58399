//! QueryAllocatedBlocks and QueryExtents, by the rules and against qemu-img.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;

use common::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VIXDISKLIBEXT_EXTENT_ALLOCATED, VIXDISKLIBEXT_EXTENT_ZERO, VixDiskLibHandle, VixError,
};

#[test]
fn queries_keep_the_rules() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), "rules", &pattern(1000, 1));
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");

    assert_eq!(allocated(disk, 0, 896, 128), Ok(vec![(0, 896)]));
    assert_eq!(allocated(disk, 896, 0, 128), Err(VixError::INVALID_ARG));
    for (start, count, chunk) in [
        (0, 127, 127),              // too small a chunk
        (0, 128, 0),                // no chunk
        (64, 128, 128),             // start inside a chunk
        (0, 130, 128),              // part of a chunk
        (0, 1000, 128),             // the tail
        (896, 128, 128),            // past the end
        (0, 1024, 1024),            // past the end in one chunk
        (1 << 40, 128, 128),        // far out
        (u64::MAX - 127, 128, 128), // past all numbers
        (0, 524_289 * 128, 128),    // too many, and past the end
    ] {
        assert_eq!(
            allocated(disk, start, count, chunk),
            Err(VixError::INVALID_ARG),
            "{start}+{count} by {chunk}"
        );
    }
    assert_eq!(
        allocated(invented(5), 0, 128, 128),
        Err(VixError::INVALID_HANDLE)
    );
    // SAFETY: null is answered with a code.
    let code =
        unsafe { TABLE.query_allocated_blocks.expect("there")(disk, 0, 128, 128, ptr::null_mut()) };
    assert_eq!(code, VixError::INVALID_ARG);

    assert_eq!(extents(disk, 0, 0, 8).err(), Some(VixError::INVALID_ARG));
    assert_eq!(
        extents(disk, 999, 2, 8).err(),
        Some(VixError::DISK_OUTOFRANGE)
    );
    assert_eq!(extents(disk, 0, 8, 0).err(), Some(VixError::INVALID_ARG));
    let last = extents(disk, 999, 1, 8).expect("in range");
    assert_eq!(last.len(), 1);
    assert_eq!((last[0].offset, last[0].length, last[0].depth), (999, 1, 0));
    assert_eq!(last[0].flags, VIXDISKLIBEXT_EXTENT_ALLOCATED);
    assert_eq!(disconnect(connection), VixError::OK);
}

/// A disk of 10 MiB and one sector, with data in few places, as a VMDK of this sub-format made by qemu-img.
fn sparse_disk(folder: &Path, subformat: &str) -> Option<(PathBuf, Vec<u8>)> {
    let mut content = vec![0; (10 << 20) + SECTOR];
    for (sector, sectors) in [(0, 1), (300, 200), (8191, 2), (20_480, 1)] {
        let from = sector * SECTOR;
        content[from..from + sectors * SECTOR].copy_from_slice(&pattern(sectors, 5));
    }
    let raw = folder.join("source.raw");
    fs::write(&raw, &content).expect("writable");
    let path = folder.join(format!("{subformat}.vmdk"));
    let arguments = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        &format!("subformat={subformat}"),
        raw.to_str().expect("UTF-8"),
        path.to_str().expect("UTF-8"),
    ];
    qemu_img(&arguments).map(|_| (path, content))
}

/// The sectors that qemu-img says do not read as zero.
fn data_in_qemu_map(path: &Path) -> Option<Vec<(u64, u64)>> {
    let json = qemu_img(&["map", "--output=json", path.to_str().expect("UTF-8")])?;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    Some(
        json.as_array()
            .expect("a list")
            .iter()
            .filter(|range| !range["zero"].as_bool().expect("a boolean"))
            .map(|range| {
                let (start, length) = (number(&range["start"]), number(&range["length"]));
                (start / 512, (start + length) / 512)
            })
            .collect(),
    )
}

#[test]
fn the_map_agrees_with_qemu() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let connection = connect();
    for subformat in [
        "monolithicSparse",
        "twoGbMaxExtentSparse",
        "streamOptimized",
    ] {
        let Some((path, content)) = sparse_disk(folder.path(), subformat) else {
            return;
        };
        let data = data_in_qemu_map(&path).expect("qemu-img was there just now");
        let disk = open(connection, &path, READ_ONLY).expect("opened");
        let capacity = capacity(disk);
        assert_eq!(capacity, 20_481);
        assert_eq!(
            read(disk, 0, capacity).map(|bytes| sha256(&bytes)),
            Ok(sha256(&content)),
            "{subformat}"
        );
        for chunk in [128, 129, 256, 1000, 20_481] {
            let chunks = capacity / chunk;
            let expected = merged(
                (0..chunks)
                    .map(|n| (n * chunk, (n + 1) * chunk))
                    .filter(|(start, end)| data.iter().any(|(from, to)| from < end && start < to)),
            );
            assert_eq!(
                allocated(disk, 0, chunks * chunk, chunk),
                Ok(expected),
                "{subformat} by {chunk}"
            );
        }
        for room in [1, 2, 1000] {
            let zero = walk(disk, capacity, room);
            for sector in 0..capacity {
                let has_data = data.iter().any(|(from, to)| (from..to).contains(&&sector));
                let index = usize::try_from(sector).expect("small");
                assert_eq!(
                    zero[index], !has_data,
                    "{subformat}, sector {sector}, room for {room}"
                );
            }
        }
        assert_eq!(close(disk), VixError::OK);
    }
    assert_eq!(disconnect(connection), VixError::OK);
}

fn merged(ranges: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += end - start,
            _ => runs.push((start, end - start)),
        }
    }
    runs
}

/// Whether each sector reads as zero, from extents in arrays of `room`, whose shape is checked on the way.
fn walk(disk: VixDiskLibHandle, capacity: u64, room: usize) -> Vec<bool> {
    let mut zero = Vec::new();
    let mut position = 0;
    while position < capacity {
        let found = extents(disk, position, capacity - position, room).expect("in range");
        assert!(!found.is_empty() && found.len() <= room);
        for pair in found.windows(2) {
            assert_ne!(
                (pair[0].flags, pair[0].depth),
                (pair[1].flags, pair[1].depth),
                "merged"
            );
        }
        for extent in found {
            assert_eq!(extent.offset, position, "contiguous");
            assert!(extent.length > 0);
            position += extent.length;
            let length = usize::try_from(extent.length).expect("small");
            let is_zero = extent.flags & VIXDISKLIBEXT_EXTENT_ZERO != 0;
            zero.resize(zero.len() + length, is_zero);
        }
    }
    assert_eq!(position, capacity, "covers the disk and no more");
    zero
}

#[test]
fn zeroing_and_trimming_change_the_map_and_the_content() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("writable");
    let Some((path, mut content)) = sparse_disk(folder.path(), "monolithicSparse") else {
        return;
    };
    let connection = connect();
    let disk = open(connection, &path, READ_WRITE).expect("opened");
    let zero = TABLE.ext_write_zeroes.expect("there");
    let trim = TABLE.ext_trim.expect("there");

    for flags in [0, 3, 4, 7, 8, 9, u32::MAX] {
        // SAFETY: handles are looked up.
        let code = unsafe { zero(disk, 0, 128, flags) };
        assert_eq!(code, VixError::INVALID_ARG, "{flags:#x}");
    }
    // SAFETY: handles are looked up.
    assert_eq!(unsafe { zero(disk, 310, 50, 1) }, VixError::OK);
    content[310 * SECTOR..360 * SECTOR].fill(0);
    // SAFETY: handles are looked up.
    assert_eq!(unsafe { zero(disk, 1000, 10, 2) }, VixError::OK);
    // SAFETY: handles are looked up.
    assert_eq!(unsafe { trim(disk, 384, 128) }, VixError::OK);
    content[384 * SECTOR..512 * SECTOR].fill(0);
    // SAFETY: handles are looked up.
    let fast = unsafe { zero(disk, 8064, 256, 1 | 4) };
    if fast.is_ok() {
        content[8064 * SECTOR..8320 * SECTOR].fill(0);
    } else {
        assert_eq!(
            fast,
            VixError::NOT_SUPPORTED,
            "fast, or refused and unchanged"
        );
    }
    assert_eq!(
        read(disk, 0, 20_481).map(|bytes| sha256(&bytes)),
        Ok(sha256(&content))
    );
    assert_eq!(allocated(disk, 384, 128, 128), Ok(vec![]), "trimmed");
    let listed = allocated(disk, 896, 128, 128).expect("in range");
    assert!(
        listed.is_empty() || listed == [(896, 128)],
        "zeros may be either"
    );
    assert_eq!(close(disk), VixError::OK);

    // And another reader agrees.
    let raw = folder.path().join("after.raw");
    let (from, to) = (path.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8"));
    qemu_img(&["check", from]).expect("there");
    qemu_img(&["convert", "-f", "vmdk", "-O", "raw", from, to]).expect("there");
    assert_eq!(sha256(&fs::read(raw).expect("there")), sha256(&content));
    assert_eq!(disconnect(connection), VixError::OK);
}
