//! Malformed input: each defect is refused with its own kind of error, and never read or written past.
//!
//! One module for each place that can be wrong; each row is named after the defect.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod copies;
mod esx;
mod file;
mod header;
mod stream;
mod tables;
mod text;

use support::image::{MemoryGate, SparseImage};
use vmdk_engine::{Disk, Error, ErrorKind, Sector};

const SECTOR: usize = 512;

/// What a defect leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Opening fails.
    Open(ErrorKind),
    /// Opening works, reading fails.
    Read(ErrorKind),
    /// All is read.
    Fine,
}

use ErrorKind::{Corrupt, InvalidDisk, NeedsRepair, Unsupported, UnsupportedVersion};
use Outcome::{Fine, Open, Read};

const BAD: Outcome = Open(InvalidDisk);
const TOO_NEW: Outcome = Open(UnsupportedVersion);
const NOT_YET: Outcome = Open(Unsupported);
const REPAIR: Outcome = Open(NeedsRepair);
const DAMAGED: Outcome = Read(Corrupt);

fn outcome(gate: &MemoryGate, writable: bool) -> (Outcome, Option<Error>) {
    let disk = match Disk::open("disk.vmdk", &gate.options().writable(writable)) {
        Ok(disk) => disk,
        Err(error) => return (Open(error.kind()), Some(error)),
    };
    // A disk that claims more than this is one whose size itself is the defect.
    let sectors = usize::try_from(disk.capacity().get()).unwrap().min(1 << 16);
    let mut buffer = vec![0; sectors * SECTOR];
    match disk.read_at(Sector::ZERO, &mut buffer) {
        Ok(()) => (Fine, None),
        Err(error) => (Read(error.kind()), Some(error)),
    }
}

/// A patch of the good image: where, and what.
type Patch = (usize, Vec<u8>);

fn u32_at(position: usize, value: u32) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

fn u64_at(position: usize, value: u64) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

/// 1 MiB with two grains of data, as QEMU writes it: text 1..21, RGD 21, RGT 22, GD 26, GT 27, grains from 128.
fn good() -> Vec<u8> {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(2048).build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 512]).unwrap();
    disk.write_at(Sector::new(640), &[2; 512]).unwrap();
    disk.close().unwrap();
    gate.bytes("disk.vmdk")
}

fn check(name: &str, image: &[u8], read_only: Outcome, writable: Outcome) {
    for (is_writable, expected) in [(false, read_only), (true, writable)] {
        let gate = MemoryGate::default().with("disk.vmdk", image);
        let (found, error) = outcome(&gate, is_writable);
        assert_eq!(
            found, expected,
            "{name}, writable: {is_writable}: {error:?}"
        );
        if let Some(error) = error {
            let text = error.to_string();
            assert!(
                text.contains("disk.vmdk") && !text.contains('\n'),
                "{name}: {text}"
            );
        }
        assert!(
            gate.bytes("disk.vmdk") == image,
            "{name}: the file was changed"
        );
    }
}
