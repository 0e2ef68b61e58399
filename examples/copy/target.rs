//! An image or a virtual disk to write to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use vixdisklib::{
    Adapter, CopyTarget, CreateOptions, Disk, DiskKind, Library, OpenFlags, Sector, SectorCount,
    SectorRange,
};

use crate::base;
use crate::common::Result;
use crate::source::Source;
use crate::workplace::Start;

/// What is written to, open for reading, too.
pub(crate) enum Target {
    Image(File),
    Disk(Disk),
}

impl Target {
    /// Makes an empty one for the disk: where the name ends in `.vmdk`, a virtual disk that grows with its data.
    pub(crate) fn create(library: &Library, path: &Path, source: &Source) -> Result<Self> {
        if is_disk(path) {
            let disk = source.disk();
            let mut options = CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, disk.capacity());
            if disk.info().adapter != Adapter::Unknown {
                options = options.adapter(disk.info().adapter);
            }
            library
                .connect_local()?
                .create_disk(path, &options, |_| ())?;
        } else {
            File::create_new(path).map_err(|error| named(path, &error))?;
        }
        Self::open(library, path)
    }

    /// Opens what is there.
    pub(crate) fn open(library: &Library, path: &Path) -> Result<Self> {
        if is_disk(path) {
            let disk = library
                .connect_local()?
                .open_disk(path, OpenFlags::empty())?;
            return Ok(Self::Disk(disk));
        }
        let file = File::options().read(true).write(true).open(path);
        Ok(Self::Image(file.map_err(|error| named(path, &error))?))
    }

    /// Opens what [`create`](Self::create) made, perhaps long ago; says too whether it reads as zero from `start` on.
    pub(crate) fn partial(library: &Library, path: &Path, start: Start) -> Result<(Self, bool)> {
        let target = Self::open(library, path)?;
        let is_zero = match &target {
            Self::Disk(_) => start.fresh,
            // What came after the last entry of the journal may be anything.
            Self::Image(image) => {
                let done = byte(start.done)?;
                if image.metadata()?.len() < done {
                    let text = format!(
                        "\"{}\" is shorter than its journal says; remove the folder to begin again",
                        path.display()
                    );
                    return Err(text.into());
                }
                image.set_len(done)?;
                true
            }
        };
        Ok((target, is_zero))
    }

    /// Refuses an earlier backup of another disk, as far as the size shows it; closes it.
    pub(crate) fn check(self, source: &Source) -> Result<()> {
        let own = match &self {
            Self::Disk(disk) => disk.capacity().bytes().unwrap_or_default().get(),
            Self::Image(image) => image.metadata()?.len(),
        };
        self.close()?;
        same_size(own, source)
    }

    /// Refuses an image that is a part of a backup: what it lacks would be taken for zeroes. Devices and disks may be larger
    /// than what is on them, and say themselves when they are too small.
    pub(crate) fn holds(&self, source: &Source) -> Result<()> {
        if let Self::Image(image) = self {
            let metadata = image.metadata()?;
            if metadata.is_file() {
                return same_size(metadata.len(), source);
            }
        }
        Ok(())
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Image(image) => image.sync_data(),
            Self::Disk(disk) => disk.flush().map_err(io::Error::other),
        }
    }

    pub(crate) fn read_at(&self, start: Sector, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Image(image) => image.read_exact_at(bytes, byte(start)?),
            Self::Disk(disk) => disk.read_at(start, bytes).map_err(io::Error::other),
        }
    }

    /// The parts of a range that may be something else than zero.
    pub(crate) fn data(&self, range: SectorRange) -> io::Result<Vec<SectorRange>> {
        match self {
            Self::Disk(disk) => {
                let extents = disk.extents(range).map_err(io::Error::other)?;
                let data = extents.filter(|extent| !extent.as_ref().is_ok_and(|own| own.zero));
                data.map(|extent| extent.map(|own| own.range).map_err(io::Error::other))
                    .collect()
            }
            Self::Image(image) => data_of(image, range),
        }
    }

    pub(crate) fn close(self) -> Result<()> {
        match self {
            Self::Image(image) => Ok(image.sync_all()?),
            Self::Disk(disk) => Ok(disk.close()?),
        }
    }

    fn inner(&mut self) -> &mut dyn CopyTarget {
        match self {
            Self::Image(image) => image,
            Self::Disk(disk) => disk,
        }
    }
}

impl CopyTarget for Target {
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
        self.inner().begin(capacity)
    }

    fn grain(&self) -> SectorCount {
        match self {
            Self::Image(image) => image.grain(),
            Self::Disk(disk) => disk.grain(),
        }
    }

    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
        self.inner().write_at(start, bytes)
    }

    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
        self.inner().write_zeroes(range)
    }

    fn finish(&mut self, capacity: SectorCount) -> io::Result<()> {
        self.inner().finish(capacity)
    }
}

fn same_size(own: u64, source: &Source) -> Result<()> {
    let capacity = source.disk().capacity().bytes().unwrap_or_default().get();
    if own == capacity {
        return Ok(());
    }
    let text = format!(
        "--changed-areas needs a backup of the same disk: that has {own} bytes, and the disk {capacity}"
    );
    Err(text.into())
}

fn is_disk(path: &Path) -> bool {
    path.extension().is_some_and(|name| name == "vmdk")
}

fn data_of(image: &File, range: SectorRange) -> io::Result<Vec<SectorRange>> {
    let end = byte(range.end())?;
    let mut position = byte(range.start())?;
    let mut parts = Vec::new();
    while position < end {
        let Some(start) = base::at(image, SeekFrom::Data(position))? else {
            break;
        };
        position = base::at(image, SeekFrom::Hole(start))?.unwrap_or(end);
        let sectors = |byte: u64| Sector::new(byte / 512);
        let part = SectorRange::between(sectors(start.min(end)), sectors(position.min(end)));
        parts.extend(part.filter(|part| !part.is_empty()));
    }
    Ok(parts)
}

fn byte(sector: Sector) -> io::Result<u64> {
    let byte = sector.byte_offset().map(|bytes| bytes.get());
    byte.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("opening \"{}\" failed: {error}", path.display())
}
