//! Copies a virtual disk to a raw image or into another virtual disk, reading only what holds data.
//!
//! ```text
//! cargo run --release --example copy -- [--changed FILE] [--target-is-zero] [--stats] [--libdir DIR] SOURCE.vmdk TARGET
//! ```
//!
//! A TARGET that exists and is named `.vmdk` is a virtual disk of the same size or larger; anything else is a raw image,
//! which is created if there is none. Ctrl-C ends the copy between two parts.

mod common;

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use vixdisklib::{
    ByteLen, ChangedAreas, CopyOptions, CopyProgress, CopyTarget, Disk, ExtentDetail, OpenFlags,
    copy,
};

/// Copies a virtual disk, reading only what holds data.
#[derive(Parser)]
#[command(name = "copy")]
struct Arguments {
    /// Copy only the areas in this file: start and length in bytes on each line, as change tracking reports them
    #[arg(long, value_name = "FILE")]
    changed: Option<PathBuf>,
    /// Leave zeroes out, as the target reads as zero all over; true of itself where the image is created
    #[arg(long)]
    target_is_zero: bool,
    /// Print the calls of the library at the end, on standard error
    #[arg(long)]
    stats: bool,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The virtual disk to copy
    #[arg(value_name = "SOURCE.vmdk")]
    source: PathBuf,
    /// A virtual disk, or a raw image
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("copy: {}", common::explain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let connection = common::connect(arguments.libdir.as_ref(), arguments.stats)?;
    let source = connection.open_disk(&arguments.source, OpenFlags::READ_ONLY)?;
    if let ExtentDetail::Unknown(reason) = source.extent_detail() {
        eprintln!("copy: reading all of the disk: {reason}");
    }
    let mut options = CopyOptions::new();
    if let Some(file) = &arguments.changed {
        options = options.changed(changed_areas(file, &source)?);
    }
    let target = &arguments.target;
    let done = if target.extension().is_some_and(|name| name == "vmdk") && target.exists() {
        let mut disk = connection.open_disk(target, OpenFlags::empty())?;
        let options = options.target_is_zero(arguments.target_is_zero);
        let done = copy_with_bar(&source, &mut disk, &options)?;
        disk.close()?;
        done
    } else {
        let (mut file, is_new) = image(target)
            .map_err(|error| format!("opening \"{}\" failed: {error}", target.display()))?;
        let options = options.target_is_zero(arguments.target_is_zero || is_new);
        copy_with_bar(&source, &mut file, &options)?
    };
    println!("{done}");
    if let Some(statistics) = connection.library().statistics() {
        eprintln!("{statistics}");
    }
    Ok(source.close()?)
}

/// The image, and whether it was created.
fn image(path: &Path) -> io::Result<(File, bool)> {
    match File::create_new(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((File::options().write(true).open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

fn changed_areas(file: &Path, disk: &Disk) -> Result<ChangedAreas, Box<dyn Error>> {
    let mut areas = Vec::new();
    for (index, line) in fs::read_to_string(file)?.lines().enumerate() {
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let Ok([start, length]) = numbers.as_deref() else {
            let place = format!("line {} of \"{}\"", index + 1, file.display());
            return Err(format!("{place} is not a start and a length in bytes").into());
        };
        areas.push((ByteLen::new(*start), ByteLen::new(*length)));
    }
    Ok(ChangedAreas::from_bytes(disk.capacity(), areas)?)
}

fn copy_with_bar(
    source: &Disk,
    target: &mut impl CopyTarget,
    options: &CopyOptions,
) -> Result<CopyProgress, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    // It draws on standard error, and only if that is a terminal.
    let style = "{bar:40} {percent:>3} % of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
    let done = copy(source, target, options, |progress| {
        bar.set_length(progress.total.get());
        bar.set_position(progress.done().get());
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    bar.finish_and_clear();
    Ok(done?)
}
