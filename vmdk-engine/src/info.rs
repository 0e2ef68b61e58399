//! What a disk says of itself.

use disk_units::SectorCount;

use crate::geometry::Geometry;

/// The kind of a disk, from the `createType` of its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskKind {
    /// `monolithicSparse`: one growing file with the descriptor inside.
    MonolithicSparse,
    /// `monolithicFlat`: a descriptor and one file of raw sectors.
    MonolithicFlat,
    /// `twoGbMaxExtentSparse`: a descriptor and several growing files.
    SplitSparse,
    /// `twoGbMaxExtentFlat`: a descriptor and several files of raw sectors.
    SplitFlat,
    /// `vmfs` and its older names: raw sectors on an ESX host.
    VmfsFlat,
    /// `vmfs` with the note that it is thin-provisioned.
    VmfsThin,
    /// `streamOptimized`: compressed, for transport.
    StreamOptimized,
    /// `vmfsSparse`: a delta of an ESX host with copy-on-write extents (COWD).
    VmfsSparse,
    /// `seSparse`: a delta of an ESX host with space-efficient sparse extents.
    SeSparse,
    /// `custom`, or a type that is not known: the extents decide.
    Custom,
}

impl DiskKind {
    pub(crate) fn from_create_type(create_type: &str, is_thin: bool) -> Self {
        match create_type.to_ascii_lowercase().as_str() {
            "monolithicsparse" => Self::MonolithicSparse,
            "monolithicflat" => Self::MonolithicFlat,
            "twogbmaxextentsparse" | "2gbmaxextentsparse" => Self::SplitSparse,
            "twogbmaxextentflat" | "2gbmaxextentflat" => Self::SplitFlat,
            "vmfsthin" => Self::VmfsThin,
            "vmfs" | "vmfspreallocated" | "vmfseagerzeroedthick" | "vmfsthick" if is_thin => {
                Self::VmfsThin
            }
            "vmfs" | "vmfspreallocated" | "vmfseagerzeroedthick" | "vmfsthick" => Self::VmfsFlat,
            "streamoptimized" => Self::StreamOptimized,
            "vmfssparse" => Self::VmfsSparse,
            "sesparse" => Self::SeSparse,
            _ => Self::Custom,
        }
    }

    /// The `createType` of a descriptor.
    pub(crate) fn create_type(self) -> &'static str {
        match self {
            Self::MonolithicSparse => "monolithicSparse",
            Self::MonolithicFlat => "monolithicFlat",
            Self::SplitSparse => "twoGbMaxExtentSparse",
            Self::SplitFlat => "twoGbMaxExtentFlat",
            Self::VmfsFlat | Self::VmfsThin => "vmfs",
            Self::StreamOptimized => "streamOptimized",
            Self::VmfsSparse => "vmfsSparse",
            Self::SeSparse => "seSparse",
            Self::Custom => "custom",
        }
    }
}

/// The disk controller that a disk was made for, from `ddb.adapterType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Adapter {
    /// `ide`.
    Ide,
    /// `buslogic`.
    BusLogic,
    /// `lsilogic`, also written for disks on newer SCSI controllers.
    LsiLogic,
    /// Missing, or any other text.
    Unknown,
}

impl Adapter {
    pub(crate) fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "ide" => Self::Ide,
            "buslogic" => Self::BusLogic,
            "lsilogic" => Self::LsiLogic,
            _ => Self::Unknown,
        }
    }

    /// What a descriptor calls it; `None` if it has no name there.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Ide => Some("ide"),
            Self::BusLogic => Some("buslogic"),
            Self::LsiLogic => Some("lsilogic"),
            Self::Unknown => None,
        }
    }
}

/// What a disk says of itself; see [`Disk::info`](crate::Disk::info).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskInfo {
    /// The kind of disk.
    pub kind: DiskKind,
    /// The size that a guest sees.
    pub capacity: SectorCount,
    /// The controller that it was made for.
    pub adapter: Adapter,
    /// The recorded BIOS geometry; zeros if there is none.
    pub bios_geometry: Geometry,
    /// The recorded geometry, or a computed one.
    pub physical_geometry: Geometry,
    /// How many links of a snapshot chain are open: 1 for a disk without open parents.
    pub links: u32,
    /// The parent's file name as the descriptor has it; `None` for a base disk.
    pub parent_hint: Option<String>,
    /// The recorded disk id, as text.
    pub uuid: Option<String>,
    /// Bytes per logical sector of the virtual device: 512 or 4096. Positions count 512 bytes all the same.
    pub logical_sector_size: u32,
    /// Bytes per physical sector of the virtual device: 512 or 4096.
    pub physical_sector_size: u32,
    /// The length that requests should have, and be aligned to, for best speed.
    pub preferred_io: SectorCount,
}
