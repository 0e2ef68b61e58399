//! Makes `hello.vmdk`, and checks that the file in the repository is what this program makes.
//!
//! ```text
//! cargo test -p vixdisklib-examples --test sample            # compare
//! UPDATE=1 cargo test -p vixdisklib-examples --test sample   # write
//! ```
//!
//! The disk has the size of a 1.44 MB floppy and a FAT12 file system on it, with a text, a pattern that shows where
//! it was read, and a large file of zeroes that takes no space in the VMDK. Everything is spelled out here from
//! public documents: "Microsoft FAT Specification" (2005) and "VMware Virtual Disk Format 5.0" (monolithicSparse).

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test: it fails by panicking, and its numbers are small"
)]

use std::path::Path;

const SECTOR: usize = 512;
const DISK_SECTORS: usize = 2880;

const README: &str = "\
Hello!\r
\r
You are reading a file in a FAT file system on a virtual disk in the VMDK format. No program of VMware's and\r
no VMDK driver took part: serve_nbd opened the disk and serves its sectors over NBD.\r
\r
PATTERN.BIN  64 KiB; every sector begins with its number on the disk, so you can see what you have read.\r
ZERO.BIN     256 KiB of zeroes, which take no space in the VMDK: look at the map.\r
\r
  nbdinfo --map \"$uri\"          what is data and what is a hole\r
  nbdcopy \"$uri\" hello.img      the whole disk as a file\r
  mtype -i hello.img ::README.TXT   this text (mtools)\r
";

#[test]
fn the_sample_is_what_this_program_makes() {
    let made = sparse_vmdk(&floppy());
    assert!(made.len() <= 200 << 10, "{} bytes", made.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/hello.vmdk");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read(&path).unwrap();
    assert!(kept == made, "run again with UPDATE=1, and commit");
}

/// A little-endian field at a byte position.
fn put(bytes: &mut [u8], at: usize, size: usize, value: u64) {
    for (index, byte) in bytes[at..at + size].iter_mut().enumerate() {
        *byte = (value >> (8 * index)) as u8;
    }
}

// FAT12 on a 1.44 MB floppy: boot sector, two tables of 9 sectors, a root directory of 14, clusters of one sector.

const TABLE_SECTORS: usize = 9;
const ROOT_START: usize = 1 + 2 * TABLE_SECTORS;
const ROOT_ENTRIES: usize = 224;
const DATA_START: usize = ROOT_START + ROOT_ENTRIES * 32 / SECTOR;

/// A file: name in the directory, first sector on the disk, contents.
struct File {
    name: &'static [u8; 11],
    start: usize,
    contents: Vec<u8>,
}

fn floppy() -> Vec<u8> {
    let pattern_start = 1024;
    let pattern = (pattern_start..pattern_start + 128)
        .flat_map(|sector| {
            let mut bytes = format!("sector {sector:4} of the disk\r\n").into_bytes();
            bytes.resize(SECTOR, b'A' + (sector % 26) as u8);
            bytes
        })
        .collect();
    let files = [
        File {
            name: b"README  TXT",
            start: DATA_START,
            contents: README.into(),
        },
        File {
            name: b"PATTERN BIN",
            start: pattern_start,
            contents: pattern,
        },
        File {
            name: b"ZERO    BIN",
            start: 2048,
            contents: vec![0; 256 << 10],
        },
    ];
    let mut disk = vec![0; DISK_SECTORS * SECTOR];
    boot_sector(&mut disk[..SECTOR]);
    let mut table = vec![0; TABLE_SECTORS * SECTOR];
    link(&mut table, 0, 0xff0);
    link(&mut table, 1, 0xfff);
    let mut root = vec![directory_entry(b"HELLO VMDK ", 0x08, 0, 0)];
    for file in &files {
        let first = cluster(file.start);
        let count = file.contents.len().div_ceil(SECTOR);
        for number in first..first + count {
            let last = number == first + count - 1;
            link(
                &mut table,
                number,
                if last { 0xfff } else { number as u16 + 1 },
            );
        }
        root.push(directory_entry(file.name, 0x01, first, file.contents.len()));
        disk[file.start * SECTOR..][..file.contents.len()].copy_from_slice(&file.contents);
    }
    for copy in 0..2 {
        disk[(1 + copy * TABLE_SECTORS) * SECTOR..][..table.len()].copy_from_slice(&table);
    }
    disk[ROOT_START * SECTOR..][..root.len() * 32].copy_from_slice(&root.concat());
    disk
}

fn cluster(sector: usize) -> usize {
    sector - DATA_START + 2
}

fn boot_sector(sector: &mut [u8]) {
    sector[..11].copy_from_slice(b"\xeb\x3c\x90VMDKDEMO");
    put(sector, 11, 2, SECTOR as u64);
    put(sector, 13, 1, 1); // sectors per cluster
    put(sector, 14, 2, 1); // reserved sectors
    put(sector, 16, 1, 2); // tables
    put(sector, 17, 2, ROOT_ENTRIES as u64);
    put(sector, 19, 2, DISK_SECTORS as u64);
    put(sector, 21, 1, 0xf0); // removable medium
    put(sector, 22, 2, TABLE_SECTORS as u64);
    put(sector, 24, 2, 18); // sectors per track
    put(sector, 26, 2, 2); // heads
    put(sector, 38, 1, 0x29); // serial number, label and type follow
    put(sector, 39, 4, 0x4845_4c4f);
    sector[43..62].copy_from_slice(b"HELLO VMDK FAT12   ");
    put(sector, 510, 2, 0xaa55);
}

/// Writes entry `number` of a table of 12-bit entries.
fn link(table: &mut [u8], number: usize, value: u16) {
    let at = number * 3 / 2;
    let [low, high] = value.to_le_bytes();
    if number.is_multiple_of(2) {
        table[at] = low;
        table[at + 1] = (table[at + 1] & 0xf0) | high;
    } else {
        table[at] = (table[at] & 0x0f) | (low << 4);
        table[at + 1] = (low >> 4) | (high << 4);
    }
}

fn directory_entry(name: &[u8; 11], attributes: u8, first: usize, length: usize) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    put(&mut entry, 24, 2, (46 << 9) | (11 << 5) | 21); // 21 November 2026
    put(&mut entry, 26, 2, first as u64);
    put(&mut entry, 28, 4, length as u64);
    entry
}

// monolithicSparse: header, descriptor, two directories with a table each, then the grains that hold something.

const GRAIN_SECTORS: usize = 16;
const DESCRIPTOR_SECTORS: usize = 20;
const TABLE_ENTRIES: usize = 512;
const GRAIN_TABLE_SECTORS: usize = TABLE_ENTRIES * 4 / SECTOR;
/// Each directory is one sector, for one table.
const REDUNDANT_DIRECTORY: usize = 1 + DESCRIPTOR_SECTORS;
const DIRECTORY: usize = REDUNDANT_DIRECTORY + 1 + GRAIN_TABLE_SECTORS;

const DESCRIPTOR: &str = r#"# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=68656c6c
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW 2880 SPARSE "hello.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "2"
ddb.geometry.heads = "16"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "4"
"#;

fn sparse_vmdk(disk: &[u8]) -> Vec<u8> {
    let metadata = DIRECTORY + 1 + GRAIN_TABLE_SECTORS;
    let overhead = metadata.next_multiple_of(GRAIN_SECTORS);
    let mut file = vec![0; overhead * SECTOR];
    file[..4].copy_from_slice(b"KDMV");
    put(&mut file, 4, 4, 1); // version
    put(&mut file, 8, 4, 3); // the newline bytes below and the redundant directory are valid
    put(&mut file, 12, 8, (disk.len() / SECTOR) as u64);
    put(&mut file, 20, 8, GRAIN_SECTORS as u64);
    put(&mut file, 28, 8, 1); // the descriptor
    put(&mut file, 36, 8, DESCRIPTOR_SECTORS as u64);
    put(&mut file, 44, 4, TABLE_ENTRIES as u64);
    put(&mut file, 48, 8, REDUNDANT_DIRECTORY as u64);
    put(&mut file, 56, 8, DIRECTORY as u64);
    put(&mut file, 64, 8, overhead as u64);
    file[73..77].copy_from_slice(b"\n \r\n");
    file[SECTOR..][..DESCRIPTOR.len()].copy_from_slice(DESCRIPTOR.as_bytes());
    for directory in [REDUNDANT_DIRECTORY, DIRECTORY] {
        put(&mut file, directory * SECTOR, 4, directory as u64 + 1);
    }
    for (number, grain) in disk.chunks(GRAIN_SECTORS * SECTOR).enumerate() {
        if grain.iter().all(|byte| *byte == 0) {
            continue;
        }
        let sector = (file.len() / SECTOR) as u64;
        for directory in [REDUNDANT_DIRECTORY, DIRECTORY] {
            put(&mut file, (directory + 1) * SECTOR + number * 4, 4, sector);
        }
        file.extend_from_slice(grain);
        file.resize(file.len().next_multiple_of(GRAIN_SECTORS * SECTOR), 0);
    }
    file
}
