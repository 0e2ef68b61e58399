//! Prints which parts of a virtual disk hold data.
//!
//! ```text
//! cargo run --release --example dump_extents -- [--json] [--chunk SECTORS] [--libdir DIR] DISK.vmdk
//! cargo run --release --example dump_extents -- --server NAME --user NAME --password-file FILE --thumbprint HEX --vm MOREF \
//!     '[datastore1] vm/vm.vmdk'
//! ```
//!
//! A chunk is a hole only if none of it holds data. With the embedded engine that is exact up to the last sector;
//! with a library that answers in whole chunks only, the tail of the disk counts as allocated.

mod common;

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::remote::RemoteOptions;
use vixdisklib::{ByteLen, ChunkSize, Extent, OpenFlags, SectorCount, SectorRange};

/// Prints which parts of a virtual disk hold data.
#[derive(Parser)]
#[command(name = "dump_extents")]
struct Arguments {
    /// Print JSON: {"capacity":bytes,"chunk":bytes,"extents":[{"offset":bytes,"length":bytes,"allocated":bool}]}
    #[arg(long)]
    json: bool,
    /// The size of the pieces looked at, in sectors of 512 bytes, from 128 to 131072
    #[arg(long, value_name = "SECTORS", default_value_t = ChunkSize::MIN.sectors().get())]
    chunk: u64,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteOptions,
    /// The virtual disk
    #[arg(
        value_name = "DISK.vmdk",
        required_unless_present = "fcd",
        conflicts_with = "fcd"
    )]
    disk: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dump_extents: {}", common::explain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Whether nobody reads the output any more, as in `dump_extents … | head`.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let chunk = ChunkSize::new(SectorCount::new(arguments.chunk))?;
    let remote = &arguments.remote;
    let library = common::library(arguments.libdir.as_ref(), false)?;
    let connection = library.connect(remote.params()?, &remote.connect_options(true))?;
    let disk = remote.open(&connection, arguments.disk.as_deref(), OpenFlags::READ_ONLY)?;
    let chunks = disk.chunks(SectorRange::whole(disk.capacity()), chunk)?;
    let out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        print_json(out, disk.capacity(), chunk, chunks)
    } else {
        print_table(out, disk.capacity(), chunks)
    }
}

fn print_json(
    mut out: impl Write,
    capacity: SectorCount,
    chunk: ChunkSize,
    extents: impl Iterator<Item = vixdisklib::Result<Extent>>,
) -> Result<(), Box<dyn Error>> {
    write!(
        out,
        "{{\"capacity\":{},\"chunk\":{},\"extents\":[",
        bytes(capacity),
        bytes(chunk.sectors())
    )?;
    let mut separator = "";
    for extent in extents {
        let Extent {
            range, allocated, ..
        } = extent?;
        let (offset, length) = (bytes(sectors_before(range)), bytes(range.count()));
        write!(
            out,
            "{separator}\n{{\"offset\":{offset},\"length\":{length},\"allocated\":{allocated}}}"
        )?;
        separator = ",";
    }
    writeln!(out, "\n]}}")?;
    Ok(out.flush()?)
}

fn print_table(
    mut out: impl Write,
    capacity: SectorCount,
    extents: impl Iterator<Item = vixdisklib::Result<Extent>>,
) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "{:>20}  {:>20}  state",
        "offset (bytes)", "length (bytes)"
    )?;
    let mut allocated = SectorCount::ZERO;
    for extent in extents {
        let extent = extent?;
        let state = if extent.allocated { "data" } else { "hole" };
        let (offset, length) = (
            bytes(sectors_before(extent.range)),
            bytes(extent.range.count()),
        );
        writeln!(out, "{offset:>20}  {length:>20}  {state}")?;
        if extent.allocated {
            allocated = allocated
                .checked_add(extent.range.count())
                .unwrap_or(capacity);
        }
    }
    let hole = capacity.checked_sub(allocated).unwrap_or_default();
    let percent = |part: SectorCount| part.get() as f64 * 100.0 / capacity.get() as f64;
    writeln!(
        out,
        "total {} bytes: allocated {} ({:.1} %), hole {} ({:.1} %)",
        bytes(capacity),
        bytes(allocated),
        percent(allocated),
        bytes(hole),
        percent(hole),
    )?;
    Ok(out.flush()?)
}

fn sectors_before(range: SectorRange) -> SectorCount {
    SectorCount::new(range.start().get())
}

/// In bytes; a disk that is open has fewer than 2^64.
fn bytes(sectors: SectorCount) -> ByteLen {
    sectors.bytes().unwrap_or_default()
}
