//! Lists, reads and writes the metadata of a virtual disk.
//!
//! ```text
//! cargo run --release --example metadata -- DISK.vmdk              # all of it
//! cargo run --release --example metadata -- DISK.vmdk KEY          # one value
//! cargo run --release --example metadata -- DISK.vmdk KEY VALUE    # writes it
//! ```

mod common;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vixdisklib::OpenFlags;

/// Lists, reads and writes the metadata of a virtual disk.
#[derive(Parser)]
#[command(name = "metadata")]
struct Arguments {
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The virtual disk
    #[arg(value_name = "DISK.vmdk")]
    disk: PathBuf,
    /// A key, such as uuid; without one all keys are printed with their values
    key: Option<String>,
    /// The value to write
    value: Option<String>,
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse()).map(|()| ExitCode::SUCCESS);
    common::exit_code("metadata", done)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let flags = match arguments.value {
        Some(_) => OpenFlags::empty(),
        None => OpenFlags::READ_ONLY,
    };
    let connection = common::connect(arguments.libdir.as_ref(), false)?;
    let disk = connection.open_disk(&arguments.disk, flags)?;
    let mut out = io::stdout().lock();
    match (&arguments.key, &arguments.value) {
        (Some(key), Some(value)) => disk.set_metadata(key, value)?,
        (Some(key), None) => {
            let missing = || format!("\"{}\" has no key {key}", arguments.disk.display());
            writeln!(out, "{}", disk.metadata(key)?.ok_or_else(missing)?)?;
        }
        (None, _) => {
            let mut keys = disk.metadata_keys()?;
            keys.sort();
            for key in keys {
                let value = disk.metadata(&key)?.unwrap_or_default();
                writeln!(out, "{key} = {value}")?;
            }
        }
    }
    Ok(disk.close()?)
}
