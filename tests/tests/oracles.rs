//! Every byte against readers that nobody here wrote: qemu-img, libvmdk and the crate vmdk-core.
//!
//! What they write, we read; what we write, they read. Where one of them is known to be wrong about something, the test
//! names it, so that it shows when that changes.

use std::fs;
use std::path::{Path, PathBuf};

use conformance::checksum;
use conformance::client::qemu_img;
use conformance::disk::{Kind, SECTOR, TABLE, raw_with_data};
use conformance::need;
use conformance::oracle::Oracle;
use conformance::random::Random;
use conformance::sample::{Content, Sample, Samples};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, OpenOptions, Sector, SectorCount, SectorRange, ZeroMode,
    unwatched,
};

/// Contents larger than this take an oracle minutes.
const LARGE: u64 = 1 << 21;

/// The SHA-256 of all that the engine reads.
fn engine_sum(disk: &Path) -> String {
    let disk = Disk::open(disk, &OpenOptions::new()).expect("the disk opens");
    checksum::reader(Sectors::of(&disk)).expect("the disk is readable")
}

/// The sectors of a disk, one after another.
struct Sectors<'a> {
    disk: &'a Disk,
    next: u64,
}

impl<'a> Sectors<'a> {
    fn of(disk: &'a Disk) -> Self {
        Self { disk, next: 0 }
    }
}

impl std::io::Read for Sectors<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.disk.capacity().get() - self.next;
        let sectors = left.min(u64::try_from(buf.len()).expect("fits") / SECTOR);
        let bytes = usize::try_from(sectors * SECTOR).expect("fits");
        let start = Sector::new(self.next);
        let read = self.disk.read_at(start, &mut buf[..bytes]);
        read.map_err(std::io::Error::other)?;
        self.next += sectors;
        Ok(bytes)
    }
}

/// Every oracle reads the content with this sum from a chain, leaf first, and so does the engine.
fn all_read(expected: &str, chain: &[&Path], what: &str) {
    assert_eq!(engine_sum(chain[0]), expected, "{what}: the engine");
    for oracle in Oracle::all() {
        let sum = oracle.sum(chain);
        assert_eq!(sum.as_deref(), Ok(expected), "{what}: {oracle:?}");
    }
}

/// libvmdk looks for embedded extents under the name in their line: gives the file that name.
fn under_its_written_name(disk: &Path) -> PathBuf {
    let bytes = fs::read(disk).expect("the disk is there");
    let is_embedded = bytes.starts_with(b"KDMV");
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 16)]).into_owned();
    let written = text
        .lines()
        .find(|line| line.contains(" SPARSE \""))
        .and_then(|line| line.split('"').nth(1));
    match written {
        Some(name) if is_embedded => {
            let path = disk.with_file_name(name);
            fs::rename(disk, &path).expect("the folder is ours");
            path
        }
        _ => disk.to_owned(),
    }
}

#[test]
fn the_public_samples() {
    let Some(samples) = Samples::copy() else {
        return;
    };
    let is_small = |sample: &&Sample| sample.sectors.is_none_or(|sectors| sectors <= LARGE);
    for sample in samples.list().iter().filter(is_small) {
        match &sample.content {
            Content::Checksum(expected) => {
                let disk = under_its_written_name(&sample.disk);
                all_read(expected, &[&disk], &sample.name);
            }
            Content::Refused => {
                assert!(Disk::open(&sample.disk, &OpenOptions::new()).is_err());
                for oracle in Oracle::all() {
                    let sum = oracle.sum(&[&sample.disk]);
                    assert!(sum.is_err(), "{}: {oracle:?} reads it", sample.name);
                }
            }
        }
    }
}

/// Capacities in sectors: less than a grain, around one, more than a table.
const CAPACITIES: [u64; 6] = [16, 112, 128, 144, 2064, TABLE / SECTOR + 48];

#[test]
fn what_qemu_writes() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for kind in Kind::ALL {
        for sectors in CAPACITIES {
            let folder = tempfile::tempdir().expect("there is room");
            let raw = raw_with_data(folder.path(), sectors * SECTOR, 9, sectors);
            let disk = kind.convert(folder.path(), &raw);
            let what = format!("{} of {sectors} sectors", kind.name());
            all_read(&checksum::file(&raw), &[&disk], &what);
        }
    }
}

/// Random writes, zeros and trims through the engine, and what should be there afterwards.
fn change_at_random(disk: &Path, content: &mut [u8], seed: u64) {
    let disk = Disk::open(disk, &OpenOptions::new().writable(true)).expect("opens for writing");
    let capacity = disk.capacity().get();
    let mut random = Random::new(seed);
    for _ in 0..40 {
        let start = random.within(0..capacity);
        let count = random.within(1..600).min(capacity - start);
        let range = SectorRange::between(Sector::new(start), Sector::new(start + count));
        let range = range.expect("in order");
        let bytes = usize::try_from(start * SECTOR).expect("fits")
            ..usize::try_from((start + count) * SECTOR).expect("fits");
        if random.within(0..4) == 0 {
            disk.write_zeroes(range, ZeroMode::MayFree).expect("zeroes");
            content[bytes].fill(0);
        } else {
            let data = random.bytes(bytes.len());
            disk.write_at(Sector::new(start), &data).expect("writes");
            content[bytes].copy_from_slice(&data);
        }
    }
    disk.close().expect("closes");
}

#[test]
fn what_the_engine_writes_into_disks_of_qemu() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for kind in Kind::WRITABLE {
        for sectors in CAPACITIES {
            let folder = tempfile::tempdir().expect("there is room");
            let raw = raw_with_data(folder.path(), sectors * SECTOR, 9, sectors);
            let disk = kind.convert(folder.path(), &raw);
            let mut content = fs::read(&raw).expect("it is there");
            change_at_random(&disk, &mut content, sectors);
            let what = format!("{} of {sectors} sectors", kind.name());
            all_read(&checksum::bytes(&content), &[&disk], &what);
        }
    }
}

#[test]
fn what_the_engine_creates_and_writes() {
    for kind in [
        DiskKind::MonolithicSparse,
        DiskKind::MonolithicFlat,
        DiskKind::SplitSparse,
        DiskKind::SplitFlat,
        DiskKind::VmfsFlat,
        DiskKind::VmfsThin,
    ] {
        for sectors in CAPACITIES {
            let folder = tempfile::tempdir().expect("there is room");
            let disk = folder.path().join("made.vmdk");
            let options = CreateOptions::new(kind, SectorCount::new(sectors));
            let made = Disk::create(&disk, &options, &mut unwatched).expect("creates");
            made.close().expect("closes");
            let mut content = vec![0; usize::try_from(sectors * SECTOR).expect("fits")];
            let what = format!("{kind:?} of {sectors} sectors");
            all_read(&checksum::bytes(&content), &[&disk], &what);
            change_at_random(&disk, &mut content, sectors);
            all_read(&checksum::bytes(&content), &[&disk], &what);
        }
    }
}

#[test]
fn chains_that_qemu_makes_and_the_engine_writes() {
    if !need::have(&["qemu-img"]) {
        return;
    }
    for base_kind in Kind::ALL {
        let folder = tempfile::tempdir().expect("there is room");
        let sectors = 2064;
        let raw = raw_with_data(folder.path(), sectors * SECTOR, 9, sectors);
        let base = base_kind.convert(folder.path(), &raw);
        let mut content = fs::read(&raw).expect("it is there");
        let mut chain = vec![base];
        for name in ["middle.vmdk", "leaf.vmdk"] {
            let child = folder.path().join(name);
            // A name alone: vmdk-core follows no absolute path.
            let parent = chain[0].file_name().expect("it is a file");
            qemu_img(conformance::arguments![
                "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child
            ]);
            change_at_random(&child, &mut content, sectors);
            chain.insert(0, child);
        }
        let chain: Vec<&Path> = chain.iter().map(PathBuf::as_path).collect();
        all_read(&checksum::bytes(&content), &chain, base_kind.name());
    }
}
