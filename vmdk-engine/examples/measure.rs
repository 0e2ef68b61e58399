//! One piece of work on a disk, in a process of its own: what `cargo xtask bench` holds against QEMU's programs.
//!
//! `measure WORK DISK [NUMBER...]`, see [`USAGE`]. It prints what was done and nothing of how long that took.

use std::error::Error;
use std::fs::{File, OpenOptions as FileOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{iter, thread};

use vmdk_engine::{
    Allocation, CreateOptions, Disk, DiskKind, Existing, OpenOptions, SECTOR_SIZE, Sector,
    SectorCount, SectorRange, StreamReader, unwatched,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
measure create DISK KIND BYTES        an empty disk
measure fragment DISK BYTES           allocates every second grain of the first so many bytes, without data
measure read DISK                     all that is allocated, on all cores
measure random-read DISK COUNT STEP   4 KiB each, so many bytes apart, on all cores
measure write DISK BLOCK              the whole disk, in blocks of so many bytes, and a flush
measure random-write DISK COUNT STEP  as random-read
measure stream-read DISK              a stream, from its first byte to its last
measure clone DISK KIND CLONE         a copy of another kind
measure map DISK                      what is allocated, as JSON
measure open DISK                     opens it";

/// Bytes that are read at once, as qemu-img does.
const READ: u64 = 2 << 20;
/// Bytes of a small request.
const SMALL: u64 = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result {
    match words {
        ["create", disk, kind, bytes] => create(disk, kind, bytes.parse()?),
        ["fragment", disk, bytes] => fragment(disk, bytes.parse()?),
        ["read", disk] => read(&open(disk, false)?),
        ["random-read", disk, count, step] => random_read(disk, count.parse()?, step.parse()?),
        ["write", disk, block] => write(disk, block.parse()?),
        ["random-write", disk, count, step] => random_write(disk, count.parse()?, step.parse()?),
        ["stream-read", disk] => stream_read(disk),
        ["clone", disk, name, path] => clone(&open(disk, false)?, name, path),
        ["map", disk] => map(&open(disk, false)?),
        ["open", disk] => {
            let info = open(disk, false)?.info();
            println!("{} sectors", info.capacity.get());
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn open(disk: &str, writable: bool) -> Result<Disk> {
    Ok(Disk::open(disk, &OpenOptions::new().writable(writable))?)
}

fn kind(name: &str) -> Result<DiskKind> {
    Ok(match name {
        "monolithicSparse" => DiskKind::MonolithicSparse,
        "monolithicFlat" => DiskKind::MonolithicFlat,
        "twoGbMaxExtentSparse" => DiskKind::SplitSparse,
        "twoGbMaxExtentFlat" => DiskKind::SplitFlat,
        "streamOptimized" => DiskKind::StreamOptimized,
        _ => return Err(format!("no kind of disk is named {name}").into()),
    })
}

fn create(disk: &str, name: &str, bytes: u64) -> Result {
    let options = CreateOptions::new(kind(name)?, SectorCount::new(bytes / 512));
    Disk::create(disk, &options, &mut unwatched)?.close()?;
    Ok(())
}

/// Cores to work with.
fn cores() -> u64 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u64::try_from(cores).unwrap_or(1)
}

/// A buffer of so many bytes.
fn buffer(bytes: u64) -> Result<Vec<u8>> {
    Ok(vec![0; usize::try_from(bytes)?])
}

/// The map says what to read, as it does for qemu-img; who is free takes the next piece.
fn read(disk: &Disk) -> Result {
    let pieces = Mutex::new(pieces(disk));
    let bytes = AtomicU64::new(0);
    on_all_cores(|_| {
        let mut buf = buffer(READ)?;
        loop {
            let next = pieces.lock().map_err(|_| "another reader panicked")?.next();
            let Some(piece) = next.transpose()? else {
                return Ok(());
            };
            let length = piece.count().bytes().ok_or("too long")?.get();
            let part = buf.get_mut(..usize::try_from(length)?).ok_or("too long")?;
            disk.read_at(piece.start(), part)?;
            bytes.fetch_add(length, Ordering::Relaxed);
        }
    })?;
    println!("{} bytes read", bytes.into_inner());
    Ok(())
}

/// What is allocated, in pieces that are read at once.
fn pieces(disk: &Disk) -> impl Iterator<Item = Result<SectorRange>> + Send {
    let mut extents = disk.extents(SectorRange::whole(disk.capacity()));
    let mut rest = SectorRange::default();
    iter::from_fn(move || {
        while rest.is_empty() {
            match extents.next()? {
                Ok(extent) if extent.state == Allocation::Data => rest = extent.range,
                Ok(_) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
        let border = rest.start().get() / (READ / 512) * (READ / 512) + READ / 512;
        let (piece, behind) = rest.split_at(Sector::new(border));
        rest = behind;
        Some(Ok(piece))
    })
}

/// The position of a small request, as `qemu-img bench -S` has them.
fn place(number: u64, step: u64, disk: &Disk) -> Result<Sector> {
    let bytes = disk.capacity().bytes().ok_or("too large")?.get() - SMALL;
    Ok(Sector::new(number * step % bytes / SMALL * (SMALL / 512)))
}

/// Does some work on each core; gives it the number of the core.
fn on_all_cores(work: impl Fn(u64) -> Result + Sync) -> Result {
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..cores())
            .map(|core| scope.spawn(move || work(core)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })
}

/// Gives each core its share of `count` small requests.
fn small_requests(count: u64, request: impl Fn(u64, &mut [u8]) -> Result + Sync) -> Result {
    on_all_cores(|core| {
        let mut buf = buffer(SMALL)?;
        (core..count)
            .step_by(usize::try_from(cores())?)
            .try_for_each(|number| request(number, &mut buf))
    })
}

fn random_read(disk: &str, count: u64, step: u64) -> Result {
    let disk = open(disk, false)?;
    small_requests(count, |number, buf| {
        Ok(disk.read_at(place(number, step, &disk)?, buf)?)
    })
}

fn random_write(disk: &str, count: u64, step: u64) -> Result {
    let disk = open(disk, true)?;
    small_requests(count, |number, buf| {
        buf.fill(7);
        Ok(disk.write_at(place(number, step, &disk)?, buf)?)
    })?;
    Ok(disk.close()?)
}

fn write(disk: &str, block: u64) -> Result {
    let disk = open(disk, true)?;
    let mut buf = buffer(block)?;
    buf.fill(7);
    let sectors = u64::try_from(buf.len() / SECTOR_SIZE)?;
    let blocks = disk.capacity().get() / sectors;
    for number in 0..blocks {
        disk.write_at(Sector::new(number * sectors), &buf)?;
    }
    Ok(disk.close()?)
}

fn stream_read(disk: &str) -> Result {
    let file = BufReader::with_capacity(1 << 20, File::open(disk)?);
    let mut bytes = 0;
    for grain in StreamReader::new(file)? {
        bytes += grain?.bytes().len();
    }
    println!("{bytes} bytes read");
    Ok(())
}

fn clone(disk: &Disk, name: &str, path: &str) -> Result {
    let options = CreateOptions::new(kind(name)?, disk.capacity());
    Ok(disk.clone_to(path, &options, Existing::Keep, &mut unwatched)?)
}

/// As many words as `qemu-img map --output=json` prints, so that the printing costs the same.
fn map(disk: &Disk) -> Result {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut separator = "[";
    for extent in disk.extents(SectorRange::whole(disk.capacity())) {
        let extent = extent?;
        let start = extent.range.start().byte_offset().ok_or("too far")?;
        let length = extent.range.count().bytes().ok_or("too long")?;
        let is_data = extent.state == Allocation::Data;
        write!(
            out,
            "{separator}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"zero\": {}, \"data\": {}}}",
            start.get(),
            length.get(),
            extent.depth,
            !is_data,
            is_data
        )?;
        separator = ",\n";
    }
    writeln!(out, "]")?;
    Ok(())
}

/// Enters every second grain in the tables of a fresh sparse disk, directly, as filling them would take long. The file
/// grows by holes ("VMware Virtual Disk Format 5.0" has the layout).
fn fragment(disk: &str, bytes: u64) -> Result {
    const TABLE: u64 = 512;
    let file = FileOptions::new()
        .read(true)
        .write(true)
        .open(Path::new(disk))?;
    let mut header = [0; 512];
    file.read_exact_at(&mut header, 0)?;
    let field = |at: usize| -> Result<u64> {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
        Ok(u64::from_le_bytes(*bytes.ok_or("a short header")?))
    };
    let grain = field(20)?;
    let mut place = field(64)?;
    for table in 0..bytes.div_ceil(TABLE * grain * 512) {
        let mut entries = Vec::new();
        for _ in 0..TABLE / 2 {
            entries.extend(u32::try_from(place)?.to_le_bytes());
            entries.extend([0; 4]);
            place += grain;
        }
        for directory in [field(48)?, field(56)?] {
            let mut sector = [0; 4];
            file.read_exact_at(&mut sector, directory * 512 + table * 4)?;
            let sector = u64::from(u32::from_le_bytes(sector));
            if sector == 0 {
                return Err("the disk has no tables yet".into());
            }
            file.write_all_at(&entries, sector * 512)?;
        }
    }
    Ok(file.set_len(place * 512)?)
}
