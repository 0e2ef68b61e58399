//! The disks that are measured. QEMU makes those that are read, so that neither side has its own habits in them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
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

fn convert(raw: &str, disk: &str, kind: &str) -> Result {
    let option = format!("subformat={kind}");
    let words = [
        "convert", "-f", "raw", "-O", "vmdk", "-o", &option, raw, disk,
    ];
    eprintln!("making {disk}");
    run_quietly(command("qemu-img").args(words))
}

/// Fills a file with something that compresses about as well as programs and texts do: words, over and over, in an
/// order that does not repeat.
fn fill(path: &Path, bytes: u64) -> Result {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<Vec<u8>> = (0..4096)
        .map(|_| {
            let length = 3 + usize::try_from(next() % 10).expect("small");
            let bytes = [next().to_le_bytes(), next().to_le_bytes()].concat();
            bytes.into_iter().take(length).collect()
        })
        .collect();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut written = 0;
    while written < bytes {
        let word = &words[usize::try_from(next() % 4096).expect("small")];
        file.write_all(word)?;
        written += u64::try_from(word.len()).expect("small");
    }
    Ok(file.into_inner()?.set_len(bytes)?)
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
