//! Checks virtual disks, and repairs them if asked to.
//!
//! ```text
//! cargo run --release --example check -- [--repair] DISK.vmdk...
//! ```
//!
//! Ends with 0 if every disk is in order, with 2 if one needs repair, with 3 if one cannot be repaired, and with 1 if one
//! could not be checked.

mod common;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use vixdisklib::{CheckReport, Connection, Health};

/// Checks virtual disks, and repairs them if asked to.
///
/// Ends with 0 if every disk is in order, with 2 if one needs repair, with 3 if one cannot be repaired, and with 1 if one
/// could not be checked.
#[derive(Parser)]
#[command(name = "check")]
struct Arguments {
    /// Repair what can be repaired
    #[arg(long)]
    repair: bool,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The virtual disks
    #[arg(value_name = "DISK.vmdk", required = true)]
    disks: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = common::connect(arguments.libdir.as_ref(), false)
        .map_err(Into::into)
        .and_then(|connection| {
            let mut worst = 0;
            for disk in &arguments.disks {
                worst = worst.max(check(&connection, disk, arguments.repair)?);
            }
            Ok(ExitCode::from(worst))
        });
    common::exit_code("check", code)
}

/// Checks one disk, and says what it found; 0, 2 or 3.
fn check(
    connection: &Connection,
    disk: &Path,
    repair: bool,
) -> Result<u8, Box<dyn std::error::Error>> {
    let report = if repair {
        connection.repair(disk)?
    } else {
        connection.check(disk)?
    };
    let (word, code) = match report.health() {
        Health::Good => ("good", 0),
        Health::NeedsRepair => ("needs repair", 2),
        _ => ("cannot be repaired", 3),
    };
    print(disk, word, &report)?;
    Ok(code)
}

fn print(disk: &Path, word: &str, report: &CheckReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {word}", disk.display())?;
    for line in report.log_lines() {
        writeln!(out, "    {}", line.text())?;
    }
    Ok(())
}
