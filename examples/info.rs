//! Prints what a virtual disk says of itself.
//!
//! ```text
//! cargo run --release --example info -- [--libdir DIR] DISK.vmdk
//! ```

mod common;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vixdisklib::{Adapter, Geometry, OpenFlags};

/// Prints what a virtual disk says of itself.
#[derive(Parser)]
#[command(name = "info")]
struct Arguments {
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The virtual disk
    #[arg(value_name = "DISK.vmdk")]
    disk: PathBuf,
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse()).map(|()| ExitCode::SUCCESS);
    common::exit_code("info", done)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let connection = common::connect(arguments.libdir.as_ref(), false)?;
    let disk = connection.open_disk(&arguments.disk, OpenFlags::READ_ONLY)?;
    let info = disk.info();
    let database = disk.database();
    let bytes = info.capacity.bytes().unwrap_or_default();

    let mut lines = vec![
        ("disk", disk.name().display().to_string()),
        (
            "capacity",
            format!("{} sectors, {bytes} bytes", info.capacity),
        ),
        ("adapter", adapter(info.adapter).to_owned()),
        ("geometry", geometry(info.physical_geometry)),
        ("links", info.links.to_string()),
        ("transport", disk.transport_mode().to_string()),
    ];
    let bios = (info.bios_geometry != Geometry::default()).then(|| geometry(info.bios_geometry));
    let optional = [
        ("BIOS geometry", bios),
        ("parent", info.parent_hint.clone()),
        ("id", info.uuid.clone()),
        ("logical sector", info.logical_sector_size.map(bytes_text)),
        ("physical sector", info.physical_sector_size.map(bytes_text)),
        (
            "hardware version",
            database
                .hardware_version()?
                .map(|version| version.to_string()),
        ),
        (
            "tools version",
            database.tools_version()?.map(|version| version.to_string()),
        ),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );

    let mut out = io::stdout().lock();
    for (name, value) in lines {
        writeln!(out, "{name:<17} {value}")?;
    }
    Ok(())
}

fn adapter(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Ide => "ide",
        Adapter::BusLogic => "buslogic",
        Adapter::LsiLogic => "lsilogic",
        _ => "unknown",
    }
}

fn geometry(geometry: Geometry) -> String {
    let Geometry {
        cylinders,
        heads,
        sectors,
    } = geometry;
    format!("{cylinders} cylinders, {heads} heads, {sectors} sectors per track")
}

fn bytes_text(bytes: u32) -> String {
    format!("{bytes} bytes")
}
