//! Checksums of contents and of files.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The SHA-256 of a file, in hexadecimal.
#[must_use]
pub fn file(path: &Path) -> String {
    let input = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader(input).expect("a regular file is readable")
}

/// The SHA-256 of all that is read up to the end, in hexadecimal.
///
/// # Errors
/// What the reader reports.
pub fn reader(mut input: impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = input.read(&mut piece)?;
        if length == 0 {
            return Ok(hexadecimal(&digest.finalize()));
        }
        digest.update(&piece[..length]);
    }
}

/// The SHA-256 of bytes, in hexadecimal.
#[must_use]
pub fn bytes(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// Name, length and SHA-256 of every file below a folder, sorted: equal before and after means that nothing changed.
#[must_use]
pub fn folder(path: &Path) -> Vec<(PathBuf, u64, String)> {
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is readable") {
            let entry = entry.expect("the folder is readable");
            let kind = entry.file_type().expect("the entry is there");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let length = entry.metadata().expect("the entry is there").len();
                files.push((entry.path(), length, file(&entry.path())));
            } else {
                files.push((entry.path(), 0, format!("{kind:?}")));
            }
        }
    }
    files.sort();
    files
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}
