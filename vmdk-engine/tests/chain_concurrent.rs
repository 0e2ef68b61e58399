//! A child that many threads change at once, each its own sectors of the same grains: whoever allocates a grain copies
//! the rest of it from the parent, and must not undo what others wrote there meanwhile.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::thread;

use support::esx::CowdImage;
use support::image::{MemoryGate, SECTOR, SparseImage, child_of, descriptor};
use support::{Numbers, content, range};
use vmdk_engine::{Disk, Sector, ZeroMode};

const CAPACITY: u64 = 2048;
const THREADS: u64 = 4;
const ROUNDS: u64 = 150;

fn gate(kind: &str) -> MemoryGate {
    let line = match kind {
        "cowd" => format!("RW {CAPACITY} VMFSSPARSE \"delta\""),
        _ => format!("RW {CAPACITY} SPARSE \"delta\""),
    };
    let text = child_of(&descriptor("custom", &[&line]), 2, 0x1f2e_3d4c, "base.vmdk");
    let delta = match kind {
        "cowd" => CowdImage::new(2048, 8).build(),
        kind => SparseImage {
            flags: if kind == "zeroed" { 7 } else { 3 },
            version: 2,
            grain: 16,
            preallocated: kind != "zeroed",
            ..SparseImage::extent(CAPACITY)
        }
        .build(),
    };
    // Every other 64 KiB of the parent are zeros, so that there are grains with nothing to copy.
    let lines: Vec<_> = (0..16)
        .map(|part| match part % 2 {
            0 => format!("RW 128 FLAT \"base\" {}", part * 128),
            _ => "RW 128 ZERO".to_owned(),
        })
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    MemoryGate::default()
        .with("child.vmdk", text)
        .with("delta", delta)
        .with("base.vmdk", descriptor("custom", &lines))
        .with("base", vec![0x11; 2048 * SECTOR])
}

/// What the owner of every fourth sector makes of its own, with a look at them each time.
fn work(disk: &Disk, owner: u64, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::new(seed * THREADS + owner);
    let mut model: Vec<u8> = (0..CAPACITY)
        .map(|sector| if sector / 128 % 2 == 0 { 0x11 } else { 0 })
        .collect();
    for _ in 0..ROUNDS {
        // Few grains, for many meetings.
        let sector = numbers.below(CAPACITY / THREADS / 4) * THREADS * 4 + owner;
        let index = usize::try_from(sector).unwrap();
        match numbers.below(8) {
            kind @ 0..2 => {
                let mode =
                    [ZeroMode::MayFree, ZeroMode::MustAllocate][usize::try_from(kind).unwrap()];
                disk.write_zeroes(range(sector, sector + 1), mode).unwrap();
                model[index] = 0;
            }
            2 => disk.flush().unwrap(),
            _ => {
                let byte = u8::try_from(1 + numbers.below(255)).unwrap();
                disk.write_at(Sector::new(sector), &[byte; SECTOR]).unwrap();
                model[index] = byte;
            }
        }
        let mut found = [0; SECTOR];
        disk.read_at(Sector::new(sector), &mut found).unwrap();
        assert_eq!(
            found, [model[index]; SECTOR],
            "owner {owner}, sector {sector}"
        );
    }
    model
}

#[test]
fn copies_of_the_parent_undo_nothing() {
    for (seed, kind) in ["plain", "zeroed", "cowd"]
        .into_iter()
        .cycle()
        .take(9)
        .enumerate()
    {
        let seed = u64::try_from(seed).unwrap();
        let gate = gate(kind);
        let disk = Disk::open("child.vmdk", &gate.options().writable(true)).unwrap();
        let models: Vec<_> = thread::scope(|scope| {
            let disk = &disk;
            let workers: Vec<_> = (0..THREADS)
                .map(|owner| scope.spawn(move || work(disk, owner, seed)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .collect()
        });
        let expected: Vec<u8> = (0..usize::try_from(CAPACITY).unwrap())
            .flat_map(|sector| [models[sector % 4][sector]; SECTOR])
            .collect();
        assert!(content(&disk) == expected, "{kind}");
        disk.close().unwrap();
        let disk = Disk::open("child.vmdk", &gate.options()).unwrap();
        assert!(content(&disk) == expected, "{kind}, reopened");
    }
}
