//! What lies behind an open disk: files of this machine, or a disk on a host.

use std::ffi::CStr;
use std::path::Path;

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::VixError;
use vmdk_engine::{Adapter, Disk, DiskInfo, FileRange, Geometry, MapExtent, OpenOptions, ZeroMode};

use crate::blocks::ChunkQuery;
use crate::error::Failure;
use crate::mode::Mode;
use crate::remote;

/// What lies behind an open disk.
#[derive(Debug)]
pub(crate) enum Medium {
    Local(Disk),
    Remote(remote::Disk),
}

/// Why a medium did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Error {
    Engine(vmdk_engine::Error),
    Remote(Failure),
}

impl Error {
    /// The failure of a call on the disk at `path`.
    #[cold]
    pub(crate) fn explain(self, path: &Path) -> Failure {
        match self {
            Self::Engine(error) => Failure::engine(path, &error),
            Self::Remote(failure) => failure,
        }
    }
}

type Result<T> = std::result::Result<T, Error>;

impl From<vmdk_engine::Error> for Error {
    fn from(error: vmdk_engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Remote(failure)
    }
}

/// What a disk says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) bios_geometry: Geometry,
    pub(crate) physical_geometry: Geometry,
    pub(crate) adapter: Adapter,
    /// How many links of a snapshot chain are open.
    pub(crate) links: u32,
    pub(crate) parent_hint: Option<String>,
    pub(crate) uuid: Option<String>,
    /// Bytes.
    pub(crate) logical_sector_size: u32,
    /// Bytes.
    pub(crate) physical_sector_size: u32,
}

impl From<DiskInfo> for Info {
    fn from(info: DiskInfo) -> Self {
        Self {
            bios_geometry: info.bios_geometry,
            physical_geometry: info.physical_geometry,
            adapter: info.adapter,
            links: info.links,
            parent_hint: info.parent_hint,
            uuid: info.uuid,
            logical_sector_size: info.logical_sector_size,
            physical_sector_size: info.physical_sector_size,
        }
    }
}

impl Medium {
    /// Opens the disk at a path of this machine.
    pub(crate) fn open_local(path: &Path, mode: Mode) -> Result<Self> {
        Ok(Self::Local(Disk::open(path, &local_options(mode))?))
    }

    /// The engine of a local disk.
    pub(crate) fn local(&self) -> std::result::Result<&Disk, Failure> {
        match self {
            Self::Local(disk) => Ok(disk),
            Self::Remote(_) => Err(local_only()),
        }
    }

    /// The disk on a host, if it is one.
    pub(crate) fn remote(&self) -> Option<&remote::Disk> {
        match self {
            Self::Local(_) => None,
            Self::Remote(disk) => Some(disk),
        }
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        match self {
            Self::Local(disk) => disk.capacity(),
            Self::Remote(disk) => disk.capacity(),
        }
    }

    /// What VixDiskLib calls the way to the disk.
    pub(crate) fn transport(&self) -> &'static CStr {
        match self {
            Self::Local(_) => c"file",
            Self::Remote(disk) => disk.transport(),
        }
    }

    pub(crate) fn info(&self) -> Result<Info> {
        Ok(match self {
            Self::Local(disk) => disk.info().into(),
            Self::Remote(disk) => disk.info()?,
        })
    }

    /// The length that requests should have, and be aligned to, for best speed.
    pub(crate) fn preferred_io(&self) -> SectorCount {
        match self {
            Self::Local(disk) => disk.info().preferred_io,
            Self::Remote(_) => remote::PREFERRED_IO,
        }
    }

    pub(crate) fn read_at(&self, start: Sector, buffer: &mut [u8]) -> Result<()> {
        match self {
            Self::Local(disk) => disk.read_at(start, buffer)?,
            Self::Remote(disk) => disk.read_at(start, buffer)?,
        }
        Ok(())
    }

    pub(crate) fn write_at(&self, start: Sector, data: &[u8]) -> Result<()> {
        match self {
            Self::Local(disk) => disk.write_at(start, data)?,
            Self::Remote(disk) => disk.write_at(start, data)?,
        }
        Ok(())
    }

    pub(crate) fn write_zeroes(&self, range: SectorRange, mode: ZeroMode) -> Result<()> {
        match self {
            Self::Local(disk) => disk.write_zeroes(range, mode)?,
            Self::Remote(disk) => disk.write_zeroes(range, mode)?,
        }
        Ok(())
    }

    pub(crate) fn trim(&self, range: SectorRange) -> Result<()> {
        match self {
            Self::Local(disk) => Ok(disk.trim(range)?),
            Self::Remote(_) => {
                Err(Failure::note(VixError::NOT_SUPPORTED, "hosts do not trim disks").into())
            }
        }
    }

    pub(crate) fn flush(&self) -> Result<()> {
        match self {
            Self::Local(disk) => disk.flush()?,
            Self::Remote(disk) => disk.flush()?,
        }
        Ok(())
    }

    /// The runs of chunks that hold data; `alone` says that what this link lacks may be in a parent.
    pub(crate) fn allocated(&self, query: ChunkQuery, alone: bool) -> Result<Vec<SectorRange>> {
        Ok(match self {
            Self::Local(disk) => {
                // Attached to a parent since it was opened, it hides nothing any more.
                let alone = alone && disk.info().links < 2;
                query.runs(disk.extents(query.range()), alone)?
            }
            Self::Remote(disk) => disk.allocated(query.range(), query.chunk())?,
        })
    }

    /// The first extents of `range`, contiguous, at most `limit` of them.
    pub(crate) fn extents(&self, range: SectorRange, limit: usize) -> Result<Vec<MapExtent>> {
        Ok(match self {
            Self::Local(disk) => disk
                .extents(range)
                .take(limit)
                .collect::<std::result::Result<_, _>>()?,
            Self::Remote(disk) => disk.extents(range, limit)?,
        })
    }

    /// The sectors at the front of `range` that lie in a file of this machine as they are.
    pub(crate) fn file_range(&self, range: SectorRange) -> Result<Option<FileRange>> {
        match self {
            Self::Local(disk) => Ok(disk.file_range(range)?),
            Self::Remote(_) => Ok(None),
        }
    }

    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>> {
        Ok(match self {
            Self::Local(disk) => disk.metadata(key),
            Self::Remote(disk) => disk.metadata(key)?,
        })
    }

    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>> {
        Ok(match self {
            Self::Local(disk) => disk.metadata_keys(),
            Self::Remote(disk) => disk.metadata_keys()?,
        })
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        Ok(self.local()?.set_metadata(key, value)?)
    }

    pub(crate) fn close(self) -> Result<()> {
        match self {
            Self::Local(disk) => disk.close()?,
            Self::Remote(disk) => disk.close()?,
        }
        Ok(())
    }
}

/// The engine's words for how a disk is opened.
pub(crate) fn local_options(mode: Mode) -> OpenOptions {
    OpenOptions::new()
        .writable(mode.writable)
        .single_link(mode.single_link)
}

/// The failure of what is done with files of this machine only.
#[cold]
pub(crate) fn local_only() -> Failure {
    Failure::new(
        VixError::NOT_SUPPORTED_ON_REMOTE_OBJECT,
        "this is possible with disks of this machine only, not with those of a server",
    )
}
