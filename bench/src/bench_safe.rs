//! `bench_safe call`: what a safe call costs on top of the raw one. `bench_safe depth LIBRARY`: what requests in flight
//! gain over threads. Prints medians and ratios; nothing here passes or fails.

mod call;
mod depth;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// 64 MiB, which stay in the page cache.
const SECTORS: u64 = 131_072;

fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let disk = disk(folder.path())?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["call"] => call::measure(&disk),
        ["depth", library] => depth::measure(&disk, library.as_ref()),
        _ => Err("usage: bench_safe call | depth LIBRARY".into()),
    }
}

/// A flat disk, written once so that its blocks are there.
fn disk(folder: &Path) -> Result<PathBuf> {
    let length = usize::try_from(SECTORS * 512)?;
    fs::write(folder.join("disk-flat.vmdk"), vec![7; length])?;
    let path = folder.join("disk.vmdk");
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
         # Extent description\nRW {SECTORS} FLAT \"disk-flat.vmdk\" 0\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// The middle of some numbers, the least, and the largest.
struct Spread {
    least: f64,
    median: f64,
    largest: f64,
}

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(numbers.len() / 2),
            largest: at(numbers.len().saturating_sub(1)),
        }
    }
}
