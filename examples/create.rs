//! Creates a virtual disk, empty or as a child of another.
//!
//! ```text
//! cargo run --release --example create -- [--kind KIND] [--adapter ADAPTER] DISK.vmdk 10G
//! cargo run --release --example create -- --child-of PARENT.vmdk DISK.vmdk
//! ```

mod common;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vixdisklib::{Adapter, ByteLen, CreateOptions, DiskKind, OpenFlags, SectorCount};

/// Creates a virtual disk, empty or as a child of another.
#[derive(Parser)]
#[command(name = "create")]
struct Arguments {
    /// How the files hold the sectors: monolithicSparse, monolithicFlat, splitSparse, splitFlat, vmfsFlat, ...
    #[arg(long, default_value = "monolithicSparse")]
    kind: DiskKind,
    /// The adapter that the disk is for: ide, buslogic or lsilogic
    #[arg(long, value_parser = adapter, default_value = "lsilogic")]
    adapter: Adapter,
    /// The virtual hardware that the disk is for
    #[arg(long, value_name = "VERSION", default_value_t = 13)]
    hardware_version: u16,
    /// Make a child of this disk: it reads as its parent until it is written
    #[arg(long, value_name = "PARENT.vmdk", conflicts_with = "size")]
    child_of: Option<PathBuf>,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The new disk; nothing may be there
    #[arg(value_name = "DISK.vmdk")]
    disk: PathBuf,
    /// The capacity in bytes, or with K, M, G or T behind it
    #[arg(value_parser = size, required_unless_present = "child_of")]
    size: Option<SectorCount>,
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse()).map(|()| ExitCode::SUCCESS);
    common::exit_code("create", done)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let connection = common::connect(arguments.libdir.as_ref(), false)?;
    if let Some(parent) = &arguments.child_of {
        let mut parent = connection.open_disk(parent, OpenFlags::READ_ONLY)?;
        parent.create_child(&arguments.disk, arguments.kind, common::progress_bar())?;
        return Ok(parent.close()?);
    }
    let capacity = arguments.size.unwrap_or_default();
    let options = CreateOptions::new(arguments.kind, capacity)
        .adapter(arguments.adapter)
        .hardware_version(arguments.hardware_version);
    Ok(connection.create_disk(&arguments.disk, &options, common::progress_bar())?)
}

fn adapter(text: &str) -> Result<Adapter, String> {
    match text {
        "ide" => Ok(Adapter::Ide),
        "buslogic" => Ok(Adapter::BusLogic),
        "lsilogic" => Ok(Adapter::LsiLogic),
        _ => Err("there are ide, buslogic and lsilogic".to_owned()),
    }
}

fn size(text: &str) -> Result<SectorCount, String> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units
        .iter()
        .find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_lowercase()]));
    let (digits, shift) = match unit {
        Some((_, shift)) => (&text[..text.len() - 1], *shift),
        None => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "no number with K, M, G, T or nothing behind it")?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
    match ByteLen::new(bytes).whole_sectors() {
        Some(SectorCount::ZERO) => Err("a disk has at least one sector".to_owned()),
        Some(sectors) => Ok(sectors),
        None => Err("no multiple of 512 bytes, the size of a sector".to_owned()),
    }
}
