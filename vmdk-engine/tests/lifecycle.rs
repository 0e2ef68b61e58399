//! Disks from the cradle to the grave: made, written, renamed, grown, given children and metadata, in any order, against
//! a vector of bytes; and the bytes of new ones against those of qemu-img.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Numbers, content, has_qemu, run};
use vmdk_engine::{
    Adapter, CreateOptions, Disk, DiskKind, FolderGate, GrowOptions, OpenOptions, Sector,
    SectorCount, ZeroMode, grow, rename, unlink, unwatched,
};

const KINDS: [DiskKind; 6] = [
    DiskKind::MonolithicSparse,
    DiskKind::MonolithicFlat,
    DiskKind::SplitSparse,
    DiskKind::SplitFlat,
    DiskKind::VmfsFlat,
    DiskKind::VmfsThin,
];

/// A disk, its parents below it, and what it must hold.
struct Life {
    folder: PathBuf,
    /// From the base to the leaf.
    links: Vec<PathBuf>,
    model: Vec<u8>,
    comment: Option<String>,
    numbers: Numbers,
    names: u32,
}

impl Life {
    fn leaf(&self) -> &Path {
        self.links.last().unwrap()
    }

    fn new_name(&mut self) -> PathBuf {
        self.names += 1;
        // Names that begin with one another are told apart.
        let name = ["d", "d-", "d-s001", "x y"][usize::try_from(self.names % 4).unwrap()];
        self.folder.join(format!("{name}{}.vmdk", self.names / 4))
    }

    fn write(&mut self) {
        let disk = Disk::open(self.leaf(), &OpenOptions::new().writable(true)).unwrap();
        let sectors = u64::try_from(self.model.len() / 512).unwrap();
        for _ in 0..5 {
            let start = self.numbers.below(sectors);
            let count = 1 + self.numbers.below((sectors - start).min(300));
            let range = support::range(start, start + count);
            let part = usize::try_from(start).unwrap() * 512
                ..usize::try_from(start + count).unwrap() * 512;
            if self.numbers.below(4) == 0 {
                disk.write_zeroes(range, ZeroMode::MayFree).unwrap();
                self.model[part].fill(0);
            } else {
                self.numbers.fill(&mut self.model[part.clone()]);
                disk.write_at(Sector::new(start), &self.model[part])
                    .unwrap();
            }
        }
        if self.numbers.below(2) == 0 {
            let comment = "c".repeat(usize::try_from(self.numbers.below(600)).unwrap());
            disk.set_metadata("comment", &comment).unwrap();
            self.comment = Some(comment);
        }
        disk.close().unwrap();
    }

    fn grow(&mut self) {
        if self.links.len() == 1 {
            let more = usize::try_from(1 + self.numbers.below(700)).unwrap();
            self.model.resize(self.model.len() + more * 512, 0);
            let sectors = u64::try_from(self.model.len() / 512).unwrap();
            let options = GrowOptions::new();
            grow(
                self.leaf(),
                SectorCount::new(sectors),
                &options,
                &mut unwatched,
            )
            .unwrap();
        }
    }

    fn rename(&mut self) {
        let name = self.new_name();
        let place = self.numbers.below(u64::try_from(self.links.len()).unwrap());
        let place = usize::try_from(place).unwrap();
        let child = self.links.get(place + 1).cloned();
        let children: Vec<&Path> = child.iter().map(PathBuf::as_path).collect();
        rename(&self.links[place], &name, &children, &FolderGate).unwrap();
        self.links[place] = name;
    }

    fn add_child(&mut self) {
        if self.links.len() < 4 {
            let name = self.new_name();
            let kinds = [DiskKind::MonolithicSparse, DiskKind::SplitSparse];
            let kind = kinds[usize::try_from(self.numbers.below(2)).unwrap()];
            let parent = Disk::open(self.leaf(), &OpenOptions::new()).unwrap();
            parent.create_child(&name, kind, &mut unwatched).unwrap();
            self.links.push(name);
        }
    }

    fn check(&self, case: &str) {
        let disk = Disk::open(self.leaf(), &OpenOptions::new()).unwrap();
        assert!(content(&disk) == self.model, "{case}");
        assert_eq!(disk.metadata("comment"), self.comment, "{case}");
        assert_eq!(
            usize::try_from(disk.info().links).unwrap(),
            self.links.len(),
            "{case}"
        );
    }
}

#[test]
fn whatever_happens_to_a_disk_it_holds_what_was_written() {
    let with_qemu = has_qemu();
    let seeds = std::env::var("VMDK_ENGINE_SEEDS").map_or(3, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        for kind in KINDS {
            let scratch = tempfile::tempdir().unwrap();
            let mut numbers = Numbers::new(seed);
            let sectors = 1 + numbers.below(2000);
            let mut life = Life {
                folder: scratch.path().to_owned(),
                links: Vec::new(),
                model: vec![0; usize::try_from(sectors).unwrap() * 512],
                comment: None,
                numbers,
                names: 0,
            };
            let name = life.new_name();
            let options = CreateOptions::new(kind, SectorCount::new(sectors));
            drop(Disk::create(&name, &options, &mut unwatched).unwrap());
            life.links.push(name);
            for step in 0..12 {
                match life.numbers.below(8) {
                    0 => life.add_child(),
                    1 | 2 => life.rename(),
                    3 | 4 => life.grow(),
                    _ => life.write(),
                }
                life.check(&format!("{kind:?}, seed {seed}, step {step}"));
            }
            if with_qemu {
                let raw = scratch.path().join("raw");
                run(Command::new("qemu-img")
                    .args(["convert", "-f", "vmdk", "-O", "raw"])
                    .arg(life.leaf())
                    .arg(&raw));
                assert!(
                    fs::read(&raw).unwrap() == life.model,
                    "{kind:?}, seed {seed}: qemu-img"
                );
                fs::remove_file(raw).unwrap();
            }
            for link in life.links.iter().rev() {
                unlink(link, &FolderGate).unwrap();
            }
            let left = fs::read_dir(scratch.path()).unwrap().count();
            assert_eq!(left, 0, "{kind:?}, seed {seed}");
        }
    }
}

/// Header, directories and tables, and so the length, are those of qemu-img; the text differs, as it is VMware's.
#[test]
fn new_sparse_disks_have_the_bytes_of_qemu_img() {
    if !has_qemu() {
        return;
    }
    let gib = 2 * 1024 * 1024;
    for sectors in [1, 128, 65_536, 65_537, gib, 5 * gib] {
        let scratch = tempfile::tempdir().unwrap();
        let (ours, theirs) = (scratch.path().join("a.vmdk"), scratch.path().join("b.vmdk"));
        let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(sectors))
            .adapter(Adapter::Ide);
        drop(Disk::create(&ours, &options, &mut unwatched).unwrap());
        run(Command::new("qemu-img")
            .args(["create", "-q", "-f", "vmdk"])
            .arg(&theirs)
            .arg((sectors * 512).to_string()));
        let (one, other) = (fs::read(&ours).unwrap(), fs::read(&theirs).unwrap());
        assert!(one[..512] == other[..512], "{sectors}: header");
        assert!(one[21 * 512..] == other[21 * 512..], "{sectors}: tables");
        let geometry = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(&bytes[512..21 * 512]).into_owned();
            let value = |key: &str| {
                text.split_once(key)
                    .unwrap()
                    .1
                    .split('"')
                    .nth(1)
                    .unwrap()
                    .to_owned()
            };
            ["geometry.cylinders", "geometry.heads", "geometry.sectors"].map(value)
        };
        if sectors > 63 * 16 {
            assert_eq!(geometry(&one), geometry(&other), "{sectors}");
        }
        run(Command::new("qemu-img").arg("check").arg(&ours));
        run(Command::new("qemu-img")
            .arg("compare")
            .args([&ours, &theirs]));
    }
}
