//! Reads of parts of compressed grains, which are inflated only as far as they are needed.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::thread;

use support::Numbers;
use support::image::{MemoryGate, SECTOR, StreamImage, put};
use vmdk_engine::{Disk, ErrorKind, Sector};

const GRAIN: usize = 128 * SECTOR;

/// Grains that hardly compress, compress well, and hold one byte.
fn grains(count: usize) -> Vec<u8> {
    let mut bytes = vec![7; count * GRAIN];
    let mut numbers = Numbers::new(5);
    for (index, grain) in bytes.chunks_mut(GRAIN).enumerate() {
        match index % 3 {
            0 => numbers.fill(grain),
            1 => grain
                .chunks_mut(4)
                .for_each(|word| word[0] = numbers.next().to_le_bytes()[0]),
            _ => {}
        }
    }
    bytes
}

fn open(bytes: Vec<u8>) -> Disk {
    let gate = MemoryGate::default().with("disk.vmdk", bytes);
    Disk::open("disk.vmdk", &gate.options()).unwrap()
}

fn read(disk: &Disk, sector: usize, sectors: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut out = vec![1; sectors * SECTOR];
    let start = Sector::new(u64::try_from(sector).unwrap());
    match disk.read_at(start, &mut out) {
        Ok(()) => Ok(out),
        Err(error) => Err(error.kind()),
    }
}

/// More grains than the cache has room for, and a last one that is cut off.
#[test]
fn readers_here_and_there_get_what_a_reader_of_all_gets() {
    let mut content = grains(150);
    content.truncate(149 * GRAIN + 40 * SECTOR);
    let disk = open(StreamImage::build(&content, true).bytes);
    let sectors = content.len() / SECTOR;
    let check = |start: usize, count: usize| {
        let expected = &content[start * SECTOR..(start + count) * SECTOR];
        let found = read(&disk, start, count).unwrap();
        assert!(found == expected, "{count} sectors from {start}");
    };
    thread::scope(|scope| {
        for reader in 0..4 {
            scope.spawn(move || {
                let mut numbers = Numbers::new(reader);
                let mut below = |limit| {
                    let number = numbers.below(u64::try_from(limit).unwrap());
                    usize::try_from(number).unwrap()
                };
                for round in 0..400 {
                    // All over the disk, and again and again in few grains.
                    let start = below(if round % 2 == 0 { sectors } else { 1000 });
                    let longest = if round % 5 == 0 { 600 } else { 16 };
                    check(start, 1 + below(longest.min(sectors - start)));
                }
            });
        }
    });
    // One that reads on and on in pieces, and one that goes backwards.
    for start in (0..sectors - 24).step_by(24).take(200) {
        check(start, 24);
    }
    for start in (0..1000).rev().step_by(8) {
        check(start, 8);
    }
}

#[test]
fn damage_shows_to_who_needs_what_is_damaged() {
    let content = grains(3);
    let image = StreamImage::build(&content, true);
    for grain in 0..3 {
        let record = usize::try_from(image.records[grain]).unwrap() * SECTOR;
        let size = u32::from_le_bytes(image.bytes[record + 8..record + 12].try_into().unwrap());
        let end = record + 12 + usize::try_from(size).unwrap();
        let mut bytes = image.bytes.clone();
        // The checksum, which covers all of the grain.
        bytes[end - 1] ^= 1;
        let first = grain * 128;
        let damaged = Err(ErrorKind::Corrupt);
        let disk = open(bytes.clone());
        let front = Ok(content[grain * GRAIN..][..8 * SECTOR].to_vec());
        for _ in 0..2 {
            assert!(read(&disk, first, 8) == front, "grain {grain}");
            assert_eq!(read(&disk, first, 128), damaged);
        }
        assert_eq!(read(&disk, first + 120, 8), damaged);
        // Now it is known.
        assert_eq!(read(&disk, first, 8), damaged);
        assert_eq!(read(&disk, 0, 384), damaged);
        assert_eq!(read(&open(bytes.clone()), 0, 384), damaged);
        // The header of the zlib stream, without which there is nothing.
        put(&mut bytes, record + 12, &[0xff]);
        let disk = open(bytes);
        assert_eq!(read(&disk, first, 8), damaged);
    }
}
