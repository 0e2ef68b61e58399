//! What a disk says of itself.

use disk_units::SectorCount;
use vixdisklib_sys::VixDiskLibAdapterType;

/// The properties of an open disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskInfo {
    /// The capacity in sectors of 512 bytes; of a chain, that of its leaf.
    pub capacity: SectorCount,
    /// The adapter that the disk was made for.
    pub adapter: Adapter,
    /// The geometry that the BIOS presents; zeros if the disk does not record one.
    pub bios_geometry: Geometry,
    /// The geometry of the disk itself.
    pub physical_geometry: Geometry,
    /// How many links the open chain has: 1 for a base disk or a single link.
    pub links: u32,
    /// The name of the parent disk as the disk records it, or `None` for a base.
    pub parent_hint: Option<String>,
    /// The disk's id as 16 hex pairs. VDDK 5.x and later.
    pub uuid: Option<String>,
    /// The logical sector size in bytes, usually 512. `None` before VDDK 7.0.
    pub logical_sector_size: Option<u32>,
    /// The physical sector size in bytes. `None` before VDDK 7.0.
    pub physical_sector_size: Option<u32>,
}

/// Cylinders, heads and sectors per track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Cylinders of the disk.
    pub cylinders: u32,
    /// Heads, or tracks per cylinder.
    pub heads: u32,
    /// Sectors per track.
    pub sectors: u32,
}

/// The kind of adapter that a disk records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Adapter {
    /// IDE; disks on SATA record this too.
    Ide,
    /// BusLogic parallel SCSI.
    BusLogic,
    /// LSI Logic SCSI; disks on most later adapters record this too.
    LsiLogic,
    /// Not recorded, or not known to the library.
    Unknown,
}

impl Adapter {
    pub(crate) fn from_c(raw: VixDiskLibAdapterType) -> Self {
        match raw {
            VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE => Self::Ide,
            VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC => Self::BusLogic,
            VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC => Self::LsiLogic,
            _ => Self::Unknown,
        }
    }

    pub(crate) fn to_c(self) -> VixDiskLibAdapterType {
        match self {
            Self::Ide => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_IDE,
            Self::BusLogic => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC,
            Self::LsiLogic => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC,
            Self::Unknown => VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_UNKNOWN,
        }
    }
}
