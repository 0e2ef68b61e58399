//! The disks that are measured. QEMU makes those that are read, so that neither side has its own habits in them.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::rows::{FRAGMENTED_BYTES, HUGE_BYTES, MAP_BYTES, Places, READ_BYTES, Row, WRITE_BYTES};
use super::{Programs, run_quietly};
use crate::Result;
use crate::shell::command;

/// Makes those that some row needs.
pub(super) fn make(folder: &Path, programs: &Programs, rows: &[Row]) -> Result {
    let places = Places::new(folder);
    let needed = |name: &str| {
        let path = places.of(name);
        let words =
            |row: &Row| row.ours.command.contains(&path) || row.theirs.command.contains(&path);
        rows.iter().any(words).then_some(path)
    };
    let (long, short) = (places.of("long.raw"), places.of("short.raw"));
    fill(long.as_ref(), READ_BYTES)?;
    fill(short.as_ref(), WRITE_BYTES)?;
    for (kind, raw) in [
        ("monolithicFlat", &long),
        ("monolithicSparse", &long),
        ("twoGbMaxExtentSparse", &long),
        ("streamOptimized", &short),
    ] {
        if let Some(disk) = needed(&format!("{kind}.vmdk")) {
            convert(raw, &disk, kind)?;
        }
    }
    for name in ["full-ours.vmdk", "full-theirs.vmdk"] {
        if let Some(disk) = needed(name) {
            convert(&short, &disk, "monolithicSparse")?;
        }
    }
    halve(short.as_ref())?;
    for name in ["half-ours.vmdk", "half-theirs.vmdk", "source.vmdk"] {
        if let Some(disk) = needed(name) {
            convert(&short, &disk, "monolithicSparse")?;
        }
    }
    let measure = |words: &[&str]| run_quietly(command(&programs.ours).args(words));
    if let Some(disk) = needed("fragmented.vmdk") {
        measure(&["create", &disk, "monolithicSparse", &MAP_BYTES.to_string()])?;
        measure(&["fragment", &disk, &FRAGMENTED_BYTES.to_string()])?;
    }
    if let Some(disk) = needed("huge.vmdk") {
        let size = HUGE_BYTES.to_string();
        run_quietly(command("qemu-img").args(["create", "-q", "-f", "vmdk", &disk, &size]))?;
    }
    for raw in [&long, &short] {
        fs::remove_file(raw)?;
    }
    run_quietly(command("sync").arg("-f").arg(folder))
}

pub(crate) fn convert(raw: &str, disk: &str, kind: &str) -> Result {
    let option = format!("subformat={kind}");
    let words = [
        "convert", "-f", "raw", "-O", "vmdk", "-o", &option, raw, disk,
    ];
    eprintln!("making {disk}");
    run_quietly(command("qemu-img").args(words))
}

/// Something that compresses about as well as programs and texts do: words, over and over, in an order that does not
/// repeat.
pub(crate) struct Words {
    state: u64,
    words: Vec<Vec<u8>>,
}

impl Words {
    pub(crate) fn new() -> Self {
        let mut source = Self {
            state: 0x9e37_79b9_7f4a_7c15,
            words: Vec::new(),
        };
        for _ in 0..4096 {
            let length = 3 + source.below(10);
            let bytes = [source.next().to_le_bytes(), source.next().to_le_bytes()].concat();
            source.words.push(bytes.into_iter().take(length).collect());
        }
        source
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).expect("small")
    }

    pub(crate) fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let index = self.below(4096);
            let word = &self.words[index];
            let length = word.len().min(out.len());
            let (here, rest) = out.split_at_mut(length);
            here.copy_from_slice(&word[..length]);
            out = rest;
        }
    }
}

/// Fills a file with [`Words`].
fn fill(path: &Path, bytes: u64) -> Result {
    let mut file = File::create(path)?;
    let mut words = Words::new();
    let mut part = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        words.fill(&mut part);
        let length = left.min(1 << 20);
        file.write_all(&part[..usize::try_from(length)?])?;
        left -= length;
    }
    Ok(())
}

/// Makes every second MiB a hole.
fn halve(path: &Path) -> Result {
    const MIB: usize = 1 << 20;
    let content = fs::read(path)?;
    let file = File::create(path)?;
    file.set_len(u64::try_from(content.len())?)?;
    for (number, part) in (0_u64..).zip(content.chunks(MIB)).step_by(2) {
        std::os::unix::fs::FileExt::write_all_at(&file, part, number << 20)?;
    }
    Ok(())
}
