//! Who is told where the server is, and what it did.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use vixdisklib::nbd::{Counters, ServerHandle};

use crate::Result;

/// Prints the URIs, of which others may wait for the first, and what to do with the sample if somebody is there to read
/// it.
pub(crate) fn uris(server: &ServerHandle, is_sample: bool) -> io::Result<()> {
    let mut text = String::new();
    for uri in server.uris() {
        text += &format!("{uri}\n");
    }
    if is_sample {
        let uri = first_uri(server);
        text += &format!(
            "\n\
             This is a small sample disk, read-only. In another terminal, try\n\
             \n\
             \x20   nbdinfo '{uri}'\n\
             \x20   nbdinfo --map '{uri}'\n\
             \x20   nbdcopy '{uri}' hello.img && strings hello.img | head -20\n\
             \x20   qemu-img convert -O qcow2 '{uri}' hello.qcow2\n\
             \n\
             Ctrl-C stops. To serve a disk of yours:\n\
             \n\
             \x20   cargo run --release --example serve_nbd -- --read-only DISK.vmdk\n",
        );
    }
    // At once: who reads the first line only may be gone before a second write.
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

pub(crate) fn first_uri(server: &ServerHandle) -> &str {
    server.uris().first().map_or("", String::as_str)
}

/// Says on standard error what the server did.
pub(crate) fn statistics(counters: &Counters) {
    eprintln!("connections: {}", counters.connections);
    eprintln!(
        "requests: {}, {} of them failed",
        counters.requests, counters.errors
    );
    eprintln!("bytes read: {}", counters.bytes_read);
    eprintln!("bytes written: {}", counters.bytes_written);
}

/// A file with the number of this process, which goes when it is dropped.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it as a whole: who sees the file sees the number. What was there before is replaced.
    pub(crate) fn write(path: &Path) -> Result<Self> {
        let written = || -> io::Result<PathBuf> {
            let path = std::path::absolute(path)?;
            let folder = path.parent().unwrap_or(&path);
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(file, "{}", process::id())?;
            file.as_file()
                .set_permissions(Permissions::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(path)
        };
        let path = written().map_err(|error| {
            let path = path.display();
            format!(
                "--pidfile {path}: {error}; its folder must be there and open to you for writing"
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the pid file");
        }
    }
}
