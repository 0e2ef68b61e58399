//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;
use vixdisklib::{ByteLen, CopyOptions};

use crate::common::remote::RemoteOptions;

/// Copies a virtual disk, reading only what holds data.
#[derive(Debug, Parser)]
#[command(name = "copy")]
pub(crate) struct Options {
    /// Copy only the areas in this file, into a copy of the backup that TARGET is. Each line has the start and the length of
    /// one in bytes; or it is JSON as pyVmomi makes it of what QueryChangedDiskAreas answers, all answers in one array
    #[arg(long, alias = "changed", value_name = "FILE")]
    pub(crate) changed_areas: Option<PathBuf>,
    /// Go on where an earlier copy to TARGET was interrupted, if one was
    #[arg(long, conflicts_with = "in_place")]
    pub(crate) resume: bool,
    /// Read both sides again at the end, and compare: all of the target with what SOURCE holds, and with zeros elsewhere
    #[arg(long)]
    pub(crate) verify: bool,
    /// Write into TARGET itself, a virtual disk of any kind, an image or a device: until the copy is done it is neither what
    /// it was nor what it will be
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Leave zeroes out, as TARGET reads as zero all over
    #[arg(long, requires = "in_place")]
    pub(crate) target_is_zero: bool,
    /// Requests of 1 MiB that are on their way at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    pub(crate) in_flight: usize,
    /// Make durable, and note in the journal, every so many MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, conflicts_with = "in_place", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) checkpoint: u32,
    /// Print the calls of the library at the end, on standard error
    #[arg(long)]
    pub(crate) stats: bool,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    pub(crate) libdir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// The virtual disk to copy; left out with --fcd
    #[arg(value_name = "SOURCE.vmdk")]
    first: PathBuf,
    /// A virtual disk if it is named .vmdk, else a raw image
    #[arg(
        value_name = "TARGET",
        required_unless_present = "fcd",
        conflicts_with = "fcd"
    )]
    second: Option<PathBuf>,
}

impl Options {
    /// The disk to copy, unless `--fcd` names it.
    pub(crate) fn source(&self) -> Option<&Path> {
        self.second.as_ref().map(|_| self.first.as_path())
    }

    pub(crate) fn target(&self) -> &Path {
        self.second.as_deref().unwrap_or(&self.first)
    }

    pub(crate) fn checkpoint(&self) -> ByteLen {
        ByteLen::new(u64::from(self.checkpoint) << 20)
    }

    pub(crate) fn how(&self) -> CopyOptions {
        CopyOptions::new().in_flight(self.in_flight)
    }
}
