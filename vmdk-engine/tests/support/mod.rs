//! What several tests need: disks built byte by byte, and outside programs and files found or reported as missing.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and a failure here fails the test"
)]

pub mod esx;
pub mod image;
pub mod recording;
pub mod world;

use std::path::PathBuf;
use std::process::Command;

use vmdk_engine::{Disk, Sector, SectorRange};

/// What is missing is said loudly; where everything must be there, that is a failure.
pub fn skip(what: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{what} is missing, and nothing may be skipped here"
    );
    eprintln!("SKIPPED: {what} is missing");
}

/// The folder of public sample disks, if there is one.
pub fn samples() -> Option<PathBuf> {
    let folder = std::env::var_os("VIXDISKLIB_SAMPLES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/samples")),
        PathBuf::from,
    );
    let folder = folder.join("vmdk");
    if folder.is_dir() {
        return Some(folder);
    }
    skip("the folder of sample disks (VIXDISKLIB_SAMPLES)");
    None
}

/// Whether `qemu-img` can be run.
pub fn has_qemu() -> bool {
    let found = Command::new("qemu-img").arg("--version").output().is_ok();
    if !found {
        skip("qemu-img");
    }
    found
}

/// Runs a program to its end; returns its output, and panics with its errors if it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The sectors `start..end`.
pub fn range(start: u64, end: u64) -> SectorRange {
    SectorRange::between(Sector::new(start), Sector::new(end)).unwrap()
}

/// The whole content of a small disk.
pub fn content(disk: &Disk) -> Vec<u8> {
    let bytes = disk.capacity().bytes().unwrap().get();
    let mut content = vec![0xee; usize::try_from(bytes).unwrap()];
    disk.read_at(Sector::ZERO, &mut content).unwrap();
    content
}

/// A repeatable sequence of numbers.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
