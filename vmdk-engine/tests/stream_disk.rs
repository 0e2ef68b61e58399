//! A new stream-optimised disk, from its creation to its end.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::path::Path;

use support::world::World;
use support::{Numbers, content, range};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, Error, ErrorKind, OpenOptions, Sector, SectorCount, ZeroMode,
    unwatched,
};

const GRAIN_BYTES: usize = 65536;

fn options(sectors: u64) -> CreateOptions {
    CreateOptions::new(DiskKind::StreamOptimized, SectorCount::new(sectors))
}

fn create(path: &Path, sectors: u64) -> Disk {
    Disk::create(path, &options(sectors), &mut unwatched).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn noise(grains: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; grains * GRAIN_BYTES];
    Numbers::new(seed).fill(&mut bytes);
    bytes
}

#[test]
fn it_is_written_forwards_and_complete_when_it_is_closed() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let disk = create(&path, 1000);
    assert!(disk.is_writable());
    assert_eq!(disk.info().kind, DiskKind::StreamOptimized);
    assert_eq!(disk.info().preferred_io, SectorCount::new(128));
    let first = noise(3, 1);
    disk.write_at(Sector::new(128), &first).unwrap();
    disk.flush().unwrap();
    disk.write_zeroes(range(512, 640), ZeroMode::MayFree)
        .unwrap();
    disk.write_zeroes(range(640, 768), ZeroMode::FastMayFree)
        .unwrap();
    disk.trim(range(768, 896)).unwrap();
    let last = noise(2, 2);
    disk.write_at(Sector::new(768), &last[..232 * 512]).unwrap();
    disk.close().unwrap();

    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    let mut expected = vec![0; 1000 * 512];
    expected[GRAIN_BYTES..4 * GRAIN_BYTES].copy_from_slice(&first);
    expected[768 * 512..].copy_from_slice(&last[..232 * 512]);
    assert!(content(&disk) == expected);
    drop(disk);
    let writable = Disk::open(&path, &OpenOptions::new().writable(true));
    assert_eq!(kind(writable), ErrorKind::Unsupported);
    assert_eq!(
        kind(Disk::create(&path, &options(1), &mut unwatched)),
        ErrorKind::AlreadyExists
    );
    assert!(content(&Disk::open(&path, &OpenOptions::new()).unwrap()) == expected);
}

#[test]
fn nothing_is_read_and_nothing_written_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = create(&scratch.path().join("disk.vmdk"), 1000);
    disk.write_at(Sector::new(128), &noise(1, 3)).unwrap();
    use ErrorKind::{OutOfRange, Unsupported};
    assert_eq!(
        kind(disk.write_at(Sector::new(128), &noise(1, 3))),
        Unsupported
    );
    assert_eq!(kind(disk.write_at(Sector::ZERO, &noise(1, 3))), Unsupported);
    assert_eq!(
        kind(disk.write_at(Sector::new(256), &[1; 512])),
        Unsupported
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(300), &noise(1, 3))),
        Unsupported
    );
    assert_eq!(
        kind(disk.write_zeroes(range(128, 256), ZeroMode::MayFree)),
        Unsupported
    );
    assert_eq!(
        kind(disk.write_zeroes(range(256, 257), ZeroMode::MayFree)),
        Unsupported
    );
    assert_eq!(
        kind(disk.write_zeroes(range(256, 384), ZeroMode::MustAllocate)),
        Unsupported
    );
    assert_eq!(kind(disk.trim(range(0, 128))), Unsupported);
    assert_eq!(kind(disk.read_at(Sector::ZERO, &mut [0; 512])), Unsupported);
    assert_eq!(
        kind(disk.extents(range(0, 1000)).next().unwrap()),
        Unsupported
    );
    assert_eq!(
        kind(disk.write_at(Sector::new(896), &noise(1, 3))),
        OutOfRange
    );
    assert_eq!(kind(disk.set_metadata("comment", "x")), Unsupported);
    disk.close().unwrap();
    let disk = Disk::open(scratch.path().join("disk.vmdk"), &OpenOptions::new()).unwrap();
    let mut grain = vec![0; GRAIN_BYTES];
    disk.read_at(Sector::new(128), &mut grain).unwrap();
    assert!(grain == noise(1, 3));
}

#[test]
fn one_that_is_dropped_is_no_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let disk = create(&path, 10_000);
    disk.write_at(Sector::ZERO, &noise(10, 4)).unwrap();
    disk.flush().unwrap();
    drop(disk);
    assert_eq!(
        kind(Disk::open(&path, &OpenOptions::new())),
        ErrorKind::InvalidDisk
    );
}

#[test]
fn an_empty_one_is_a_disk_of_zeros() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    create(&path, 77).close().unwrap();
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    assert_eq!(disk.capacity(), SectorCount::new(77));
    assert!(content(&disk).iter().all(|byte| *byte == 0));
}

/// Creates, writes and closes; every step may fail.
fn make(world: &World, data: &[u8]) -> Result<(), Error> {
    let options = options(2000).gate(world.gate());
    let disk = Disk::create("disk.vmdk", &options, &mut unwatched)?;
    for (number, part) in (0..).zip(data.chunks(4 * GRAIN_BYTES)) {
        disk.write_at(Sector::new(number * 512), part)?;
        disk.flush()?;
    }
    disk.close()
}

#[test]
fn whenever_it_ends_there_is_the_whole_disk_or_none() {
    let data = noise(15, 5);
    let world = World::default();
    make(&world, &data).unwrap();
    let mut complete = 0;
    for events in 0..=world.len() {
        for seed in 0..4 {
            let after = match seed {
                0 => world.killed(events),
                _ => world.crashed(events, &mut Numbers::new(seed)),
            };
            if let Ok(disk) = Disk::open("disk.vmdk", &after.options()) {
                assert!(
                    content(&disk)[..data.len()] == data,
                    "after {events} events"
                );
                complete += 1;
            } else {
                assert!(events < world.len() || seed > 0, "it was closed");
            }
        }
    }
    assert!(complete > 0);
}

#[test]
fn whatever_fails_leaves_no_disk_that_opens() {
    let data = noise(15, 6);
    let whole = World::default();
    make(&whole, &data).unwrap();
    for events in 0..whole.len() {
        let world = World::default();
        world.fail_from(events);
        make(&world, &data).expect_err("a change fails");
        let opened = Disk::open("disk.vmdk", &world.options());
        // The last sync may fail when all is there.
        assert!(
            opened.is_err() || events + 1 >= whole.len(),
            "{events} of {}",
            whole.len()
        );
    }
}
