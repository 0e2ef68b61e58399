//! A small disk that is part of the program, for trying it out. `make.rs` beside this file makes it.

use std::fs;
use std::io;
use std::path::PathBuf;

use tempfile::TempDir;

const DISK: &[u8] = include_bytes!("hello.vmdk");

/// The sample disk as a file, in a private folder that goes away with it.
pub(crate) struct Sample {
    folder: TempDir,
}

impl Sample {
    pub(crate) fn unpack() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("serve_nbd-").tempdir()?;
        let sample = Self { folder };
        fs::write(sample.path(), DISK)?;
        Ok(sample)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("hello.vmdk")
    }
}
