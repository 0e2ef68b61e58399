//! The disks: the same data in every form. QEMU makes those that are read, so that no server has its own habits in them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::contests::Contest;
use super::server::{Layout, Programs, Server};
use crate::Result;
use crate::bench::images::{Words, convert};
use crate::bench::run_quietly;
use crate::shell::command;

const MIB: u64 = 1 << 20;
const GRAIN: u64 = 64 << 10;
/// Bytes of the disk whose map is long.
const MAP_BYTES: u64 = 1 << 40;

pub(super) struct Images {
    folder: PathBuf,
    size: u64,
    extents: u64,
}

impl Images {
    pub(super) fn new(folder: &Path, size: u64, extents: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            size,
            extents,
        }
    }

    /// Bytes of the disks that are read, of which half are holes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the disk that cannot be compressed.
    pub(super) fn dense_size(&self) -> u64 {
        self.size / 4
    }

    /// Bytes of the disks that are written.
    pub(super) fn new_size(&self) -> u64 {
        self.size / 8
    }

    /// Extents of the disk whose map is long.
    pub(super) fn extents(&self) -> u64 {
        self.extents
    }

    /// What the disks that are read have.
    pub(super) fn layout(&self) -> Layout {
        Layout {
            size: self.size,
            part: MIB,
            end: self.size,
        }
    }

    /// What the disk has whose map is long.
    pub(super) fn fragmented_layout(&self) -> Layout {
        Layout {
            size: MAP_BYTES,
            part: GRAIN,
            end: self.extents * GRAIN,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes those that some contest needs and that are not there.
    pub(super) fn make(&self, programs: &Programs, contests: &[Contest]) -> Result {
        let missing = |name: &str| {
            let path = self.path(name);
            let used = contests.iter().flat_map(Contest::servers);
            let used = used.into_iter().any(|server| server.image == path);
            used && !path.exists()
        };
        let kinds = [
            ("sparse.vmdk", "monolithicSparse"),
            ("flat.vmdk", "monolithicFlat"),
            ("stream.vmdk", "streamOptimized"),
        ];
        let raw = self.path("disk.raw");
        let mut words = Words::new();
        if !raw.exists() {
            write_alternate(&raw, self.size, MIB, |part| words.fill(part))?;
        }
        for (name, kind) in kinds {
            if missing(name) {
                self.convert("disk.raw", name, kind)?;
            }
        }
        if missing("dense.vmdk") {
            let noise = self.path("dense.raw");
            let mut random = File::open("/dev/urandom")?.take(self.dense_size());
            io::copy(&mut random, &mut File::create(&noise)?)?;
            self.convert("dense.raw", "dense.vmdk", "streamOptimized")?;
            fs::remove_file(noise)?;
        }
        if missing("fragmented.vmdk") {
            let disk = self.path("fragmented.vmdk").to_string_lossy().into_owned();
            let measure = |words: &[&str]| run_quietly(command(&programs.measure).args(words));
            measure(&["create", &disk, "monolithicSparse", &MAP_BYTES.to_string()])?;
            measure(&["fragment", &disk, &(self.extents * GRAIN).to_string()])?;
        }
        if missing("fragmented.raw") {
            let file = File::create(self.path("fragmented.raw"))?;
            file.set_len(MAP_BYTES)?;
            for number in 0..self.extents / 2 {
                file.write_all_at(&[7; 4096], number * 2 * GRAIN)?;
            }
        }
        run_quietly(command("sync").arg("-f").arg(&self.folder))
    }

    fn convert(&self, from: &str, to: &str, kind: &str) -> Result {
        let name = |name: &str| self.path(name).to_string_lossy().into_owned();
        convert(&name(from), &name(to), kind)
    }

    /// An empty image for a server that takes writes.
    pub(super) fn renew(&self, server: &Server) -> Result {
        if !server.writable {
            return Ok(());
        }
        self.remove_new(server)?;
        let (path, size) = (&server.image, self.new_size());
        if path.extension() == Some("raw".as_ref()) {
            return Ok(File::create(path)?.set_len(size)?);
        }
        let mut create = command("qemu-img");
        create.args(["create", "-q", "-f", "vmdk"]).arg(path);
        run_quietly(create.arg(size.to_string()))
    }

    /// Removes what [`renew`](Self::renew) made.
    pub(super) fn remove_new(&self, server: &Server) -> Result {
        if server.writable && server.image.exists() {
            fs::remove_file(&server.image)?;
        }
        Ok(())
    }
}

/// Makes a file of `size` bytes, of which every second part is a hole.
fn write_alternate(path: &Path, size: u64, part: u64, mut fill: impl FnMut(&mut [u8])) -> Result {
    eprintln!("making {}", path.display());
    let file = File::create(path)?;
    file.set_len(size)?;
    let mut buffer = vec![0; usize::try_from(part)?];
    for number in (0..size / part).step_by(2) {
        fill(&mut buffer);
        file.write_all_at(&buffer, number * part)?;
    }
    Ok(())
}
