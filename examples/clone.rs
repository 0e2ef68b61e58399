//! Copies a virtual disk, as it reads through all its parents, into a new one of any kind.
//!
//! ```text
//! cargo run --release --example clone -- [--kind KIND] [--overwrite] SOURCE.vmdk TARGET.vmdk
//! ```

mod common;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vixdisklib::{CloneOptions, DiskKind};

/// Copies a virtual disk, as it reads through all its parents, into a new one of any kind.
#[derive(Parser)]
#[command(name = "clone")]
struct Arguments {
    /// How the files of the copy hold the sectors: monolithicSparse, monolithicFlat, splitSparse, splitFlat, vmfsFlat,
    /// streamOptimized, ...
    #[arg(long, default_value = "monolithicSparse")]
    kind: DiskKind,
    /// Replace a disk that has the name of the copy
    #[arg(long)]
    overwrite: bool,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The disk to copy
    #[arg(value_name = "SOURCE.vmdk")]
    source: PathBuf,
    /// The copy
    #[arg(value_name = "TARGET.vmdk")]
    target: PathBuf,
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse()).map(|()| ExitCode::SUCCESS);
    common::exit_code("clone", done)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { source, target, .. } = arguments;
    let connection = common::connect(arguments.libdir.as_ref(), false)?;
    let options = CloneOptions::new(arguments.kind).overwrite(arguments.overwrite);
    Ok(connection.clone_disk(
        source,
        &connection,
        target,
        &options,
        common::progress_bar(),
    )?)
}
