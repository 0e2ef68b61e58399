//! Many threads on one disk: what they write to different sectors is all there afterwards.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::image::SparseImage;
use support::{Numbers, content, range};
use vmdk_engine::{Disk, OpenOptions, Sector, SectorRange, ZeroMode};

const THREADS: u64 = 8;

fn create(folder: &Path, image: &SparseImage) -> std::path::PathBuf {
    let path = folder.join("disk.vmdk");
    std::fs::write(&path, image.build()).unwrap();
    path
}

fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new().writable(true)).unwrap()
}

/// Sector `sector` as thread `owner` writes it in its round `round`.
fn pattern(owner: u64, round: u64, sector: u64) -> [u8; 512] {
    let mut bytes = [0; 512];
    Numbers::new(owner * 1_000_003 + round * 7919 + sector).fill(&mut bytes);
    bytes
}

/// Every grain is shared: thread t owns the sectors s with s % 8 == t. All start at once, on unallocated grains.
#[test]
fn writers_of_the_same_grains_lose_nothing() {
    for preallocated in [true, false] {
        let scratch = tempfile::tempdir().unwrap();
        let capacity = 4 * 128 + 50;
        let image = SparseImage {
            preallocated,
            ..SparseImage::monolithic(capacity)
        };
        let path = create(scratch.path(), &image);
        let disk = open(&path);
        thread::scope(|scope| {
            for owner in 0..THREADS {
                let disk = &disk;
                scope.spawn(move || {
                    let mut sectors: Vec<u64> = (owner..capacity).step_by(8).collect();
                    let mut numbers = Numbers::new(owner);
                    for index in (1..sectors.len()).rev() {
                        let other = numbers.below(u64::try_from(index + 1).unwrap());
                        sectors.swap(index, usize::try_from(other).unwrap());
                    }
                    for (done, sector) in sectors.into_iter().enumerate() {
                        let bytes = pattern(owner, 0, sector);
                        disk.write_at(Sector::new(sector), &bytes).unwrap();
                        let mut back = [0; 512];
                        disk.read_at(Sector::new(sector), &mut back).unwrap();
                        assert!(back == bytes, "own write of sector {sector}");
                        if owner == 0 && done % 20 == 0 {
                            disk.flush().unwrap();
                        }
                    }
                });
            }
        });
        let expected: Vec<u8> = (0..capacity)
            .flat_map(|sector| pattern(sector % 8, 0, sector))
            .collect();
        assert!(content(&disk) == expected);
        disk.close().unwrap();
        // Opening for writing checks that no two grains share a place.
        assert!(content(&open(&path)) == expected);
    }
}

/// All threads meet at each grain, which none has written yet, and write a sector of it at the same moment.
#[test]
fn writers_that_meet_at_a_new_grain_allocate_it_once() {
    let scratch = tempfile::tempdir().unwrap();
    let grains = 300;
    let path = create(scratch.path(), &SparseImage::monolithic(grains * 128));
    let disk = open(&path);
    let meeting = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for owner in 0..THREADS {
            let (disk, meeting) = (&disk, &meeting);
            scope.spawn(move || {
                for grain in 0..grains {
                    let sector = grain * 128 + owner * 16;
                    let bytes = pattern(owner, 0, sector);
                    meeting.wait();
                    disk.write_at(Sector::new(sector), &bytes).unwrap();
                }
            });
        }
    });
    disk.close().unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    assert_eq!(
        length,
        (128 + grains * 128) * 512,
        "one place for each grain"
    );
    let disk = open(&path);
    for grain in 0..grains {
        for owner in 0..THREADS {
            let sector = grain * 128 + owner * 16;
            let mut found = [0; 512];
            disk.read_at(Sector::new(sector), &mut found).unwrap();
            assert!(found == pattern(owner, 0, sector), "sector {sector}");
        }
    }
}

/// Each thread owns a stretch that begins and ends inside grains, and writes, zeroes, trims and reads it at random,
/// across two grain tables.
#[test]
fn neighbours_do_not_disturb_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let stretch = 1500;
    let first = 65536 - 4 * stretch - 77;
    let capacity = first + THREADS * stretch + 33;
    let path = create(scratch.path(), &SparseImage::monolithic(capacity));
    let disk = open(&path);
    let models: Vec<Vec<u8>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|owner| {
                let disk = &disk;
                scope.spawn(move || work(disk, owner, first + owner * stretch, stretch))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    for round in 0..2 {
        let disk = if round == 0 {
            &disk
        } else {
            &open_to_read(&path)
        };
        for (owner, model) in (0..THREADS).zip(&models) {
            let mut found = vec![0; model.len()];
            disk.read_at(Sector::new(first + owner * stretch), &mut found)
                .unwrap();
            assert!(found == *model, "thread {owner}, reopened: {round}");
        }
        if round == 0 {
            disk.flush().unwrap();
        }
    }
}

/// A second look at the flushed files while the first disk is still open, as another reader would have it.
fn open_to_read(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::new().ignore_locks(true)).unwrap()
}

fn work(disk: &Disk, owner: u64, start: u64, stretch: u64) -> Vec<u8> {
    let mut numbers = Numbers::new(owner + 100);
    let mut model = vec![0; usize::try_from(stretch * 512).unwrap()];
    for _ in 0..150 {
        let from = numbers.below(stretch);
        let count = 1 + numbers.below((stretch - from).min(400));
        let own = range(start + from, start + from + count);
        let part = &mut model[usize::try_from(from * 512).unwrap()..]
            [..usize::try_from(count * 512).unwrap()];
        match numbers.below(10) {
            0..6 => {
                numbers.fill(part);
                disk.write_at(own.start(), part).unwrap();
            }
            6 => {
                disk.write_zeroes(own, ZeroMode::MayFree).unwrap();
                part.fill(0);
            }
            7 => {
                disk.write_zeroes(own, ZeroMode::MustAllocate).unwrap();
                part.fill(0);
            }
            8 => disk.flush().unwrap(),
            _ => {
                // Maps while others write: it must stay whole.
                let mut end = start;
                for extent in disk.extents(range(start, start + stretch)) {
                    let extent = extent.unwrap();
                    assert_eq!(extent.range.start().get(), end);
                    end = extent.range.end().get();
                }
                assert_eq!(end, start + stretch);
            }
        }
        let mut back = vec![0; usize::try_from(count * 512).unwrap()];
        disk.read_at(own.start(), &mut back).unwrap();
        let part = &model[usize::try_from(from * 512).unwrap()..][..back.len()];
        assert!(back == part, "thread {owner} reads its own sectors {own}");
    }
    model
}

/// Readers during allocation see old or new content of each sector, never anything else.
#[test]
fn readers_see_old_or_new_sectors() {
    let scratch = tempfile::tempdir().unwrap();
    let capacity = 8 * 128;
    let path = create(scratch.path(), &SparseImage::monolithic(capacity));
    let disk = open(&path);
    let rounds = 30;
    let is_finished = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                let bytes: Vec<u8> = (0..capacity)
                    .flat_map(|sector| pattern(0, round, sector))
                    .collect();
                disk.write_at(Sector::ZERO, &bytes).unwrap();
                disk.write_zeroes(SectorRange::whole(disk.capacity()), ZeroMode::MayFree)
                    .unwrap();
                disk.flush().unwrap();
            }
            is_finished.store(true, Ordering::Release);
        });
        for reader in 0..3 {
            let (disk, is_finished) = (&disk, &is_finished);
            scope.spawn(move || {
                let mut numbers = Numbers::new(reader);
                let mut sector = [0; 512];
                while !is_finished.load(Ordering::Acquire) {
                    let position = numbers.below(capacity);
                    disk.read_at(Sector::new(position), &mut sector).unwrap();
                    let is_known = sector == [0; 512]
                        || (1..=rounds).any(|round| sector == pattern(0, round, position));
                    assert!(
                        is_known,
                        "sector {position} holds what was never written to it"
                    );
                }
            });
        }
    });
}
