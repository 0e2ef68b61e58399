//! What a new disk is to be.

use std::sync::Arc;

use disk_units::SectorCount;

use super::ids::{is_uuid, new_uuid};
use crate::error::{Cause, Error, ErrorKind};
use crate::gate::{FolderGate, OpenGate};
use crate::geometry::Geometry;
use crate::info::{Adapter, DiskKind};

/// The virtual hardware that new disks are for unless somebody says otherwise: that of ESXi 6.7 and Workstation 14.
const USUAL_HARDWARE: u16 = 14;

/// Why there can be no such disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionsError {
    #[error("there is no name for an unknown adapter")]
    Adapter,
    #[error("a hardware version of 0 does not exist")]
    HardwareVersion,
    #[error(
        "sectors of {logical} bytes on physical ones of {physical} are not possible: both are 512 or 4096, and the latter not less"
    )]
    SectorSizes { logical: u32, physical: u32 },
    #[error("{0} sectors of 512 bytes are no whole number of sectors of 4096")]
    NotWhole(u64),
    #[error("a geometry has at least one cylinder, head and sector")]
    Geometry,
    #[error(
        "\"{0}\" is no disk id of the form \"60 00 C2 9x xx xx xx xx-xx xx xx xx xx xx xx xx\""
    )]
    Uuid(String),
}

impl Cause for OptionsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What disk to make; see [`Disk::create`](crate::Disk::create).
///
/// The default is a disk for an LSI Logic adapter and hardware version 14, with sectors of 512 bytes, the geometry that
/// VMware products choose and a random id, made under [`FolderGate`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateOptions {
    kind: DiskKind,
    capacity: SectorCount,
    adapter: Adapter,
    hardware_version: u16,
    logical_sector_size: u32,
    physical_sector_size: u32,
    geometry: Option<Geometry>,
    uuid: Option<String>,
    gate: Arc<dyn OpenGate>,
}

impl CreateOptions {
    /// A disk of a kind, with so many sectors of 512 bytes.
    #[must_use]
    pub fn new(kind: DiskKind, capacity: SectorCount) -> Self {
        Self {
            kind,
            capacity,
            adapter: Adapter::LsiLogic,
            hardware_version: USUAL_HARDWARE,
            logical_sector_size: 512,
            physical_sector_size: 512,
            geometry: None,
            uuid: None,
            gate: Arc::new(FolderGate),
        }
    }

    /// The controller that the disk is for: any but [`Adapter::Unknown`].
    #[must_use]
    pub fn adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = adapter;
        self
    }

    /// The version of the virtual hardware that the disk is for, from 1 on.
    #[must_use]
    pub fn hardware_version(mut self, version: u16) -> Self {
        self.hardware_version = version;
        self
    }

    /// The bytes of a sector as the guest sees it, and of one of the device behind: 512 or 4096, the second not less
    /// than the first. For logical sectors of 4096 bytes the capacity must be a multiple of 8.
    #[must_use]
    pub fn sector_sizes(mut self, logical: u32, physical: u32) -> Self {
        (self.logical_sector_size, self.physical_sector_size) = (logical, physical);
        self
    }

    /// The geometry, all parts of which are at least 1.
    #[must_use]
    pub fn geometry(mut self, geometry: Geometry) -> Self {
        self.geometry = Some(geometry);
        self
    }

    /// The id: sixteen bytes as pairs of hexadecimal digits, with blanks between them and a hyphen in the middle.
    #[must_use]
    pub fn uuid(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some(uuid.into());
        self
    }

    /// Who makes the files and opens the disk.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.gate = gate;
        self
    }

    pub(crate) fn kind(&self) -> DiskKind {
        self.kind
    }

    pub(crate) fn capacity(&self) -> SectorCount {
        self.capacity
    }

    pub(crate) fn gate_ref(&self) -> &Arc<dyn OpenGate> {
        &self.gate
    }

    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.adapter.name().is_none() {
            return Err(OptionsError::Adapter);
        }
        if self.hardware_version == 0 {
            return Err(OptionsError::HardwareVersion);
        }
        let (logical, physical) = (self.logical_sector_size, self.physical_sector_size);
        if !matches!((logical, physical), (512, 512 | 4096) | (4096, 4096)) {
            return Err(OptionsError::SectorSizes { logical, physical });
        }
        if logical == 4096 && !self.capacity.get().is_multiple_of(8) {
            return Err(OptionsError::NotWhole(self.capacity.get()));
        }
        if let Some(Geometry {
            cylinders,
            heads,
            sectors,
        }) = self.geometry
            && (cylinders == 0 || heads == 0 || sectors == 0)
        {
            return Err(OptionsError::Geometry);
        }
        match &self.uuid {
            Some(uuid) if !is_uuid(uuid) => Err(OptionsError::Uuid(uuid.clone())),
            _ => Ok(()),
        }
    }

    /// The disk data base, but for the content id.
    pub(super) fn metadata(&self) -> Result<Vec<(String, String)>, Error> {
        let geometry = self
            .geometry
            .unwrap_or_else(|| Geometry::for_disk(self.adapter, self.capacity));
        let uuid = self.uuid.clone().map_or_else(new_uuid, Ok)?;
        let mut entries = vec![
            (
                "adapterType",
                self.adapter.name().unwrap_or_default().to_owned(),
            ),
            ("geometry.cylinders", geometry.cylinders.to_string()),
            ("geometry.heads", geometry.heads.to_string()),
            ("geometry.sectors", geometry.sectors.to_string()),
            ("uuid", uuid),
            ("virtualHWVersion", self.hardware_version.to_string()),
        ];
        if self.physical_sector_size != 512 {
            entries.push(("logicalSectorSize", self.logical_sector_size.to_string()));
            entries.push(("physicalSectorSize", self.physical_sector_size.to_string()));
        }
        if self.kind == DiskKind::VmfsThin {
            entries.push(("thinProvisioned", "1".to_owned()));
        }
        let owned = |(key, value): (&str, String)| (key.to_owned(), value);
        Ok(entries.into_iter().map(owned).collect())
    }
}
