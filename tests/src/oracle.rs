//! Readers of VMware disks that nobody here wrote: what they all read is what is there.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::checksum;
use crate::need::{self, PYTHON};

/// A reader of VMware disks. None is right about everything; where one cannot read a disk, a test says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// `qemu-img convert`.
    Qemu,
    /// libvmdk, through its Python module. It wants an embedded extent's file to have the name that its line gives.
    Libvmdk,
    /// The crate `vmdk-core`.
    VmdkCore,
}

impl Oracle {
    /// All that can be asked here; says which cannot.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::VmdkCore];
        if need::have(&["qemu-img"]) {
            all.push(Self::Qemu);
        }
        if need::have_libvmdk() {
            all.push(Self::Libvmdk);
        }
        all
    }

    /// The SHA-256 of all that the oracle reads from a chain, leaf first; or why it cannot.
    ///
    /// # Errors
    /// What the oracle says of a disk that it refuses.
    pub fn sum(self, chain: &[&Path]) -> Result<String, String> {
        let leaf = chain[0];
        match self {
            Self::Qemu => {
                let folder = TempDir::new().expect("there is room");
                let raw = folder.path().join("raw");
                output(
                    Command::new("qemu-img")
                        .args(["convert", "-f", "vmdk", "-O", "raw"])
                        .args([leaf, &raw]),
                )?;
                Ok(checksum::file(&raw))
            }
            Self::Libvmdk => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/libvmdk_sum.py");
                let sum = output(Command::new(PYTHON).arg(script).args(chain))?;
                Ok(sum.trim().to_owned())
            }
            Self::VmdkCore if chain.len() > 1 => {
                let reader = vmdk::VmdkChainReader::open(leaf);
                sum_of(reader.map_err(|error| error.to_string())?)
            }
            Self::VmdkCore => {
                let reader = vmdk::VmdkReader::open_path(leaf);
                sum_of(reader.map_err(|error| error.to_string())?)
            }
        }
    }
}

fn sum_of(reader: impl Read) -> Result<String, String> {
    checksum::reader(reader).map_err(|error| error.to_string())
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("the program is there");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("it prints text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
