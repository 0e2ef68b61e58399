//! The disk database of a disk on a host: entries that can be asked for by name, but not listed.

use vmdk_engine::{Adapter, Geometry};

use super::disk::{Disk, explain};
use crate::error::Failure;
use crate::medium::Info;

/// The entries that are looked for when a caller wants to know which ones there are (source: Virtual Disk Programming
/// Guide, and descriptors of ESXi and Workstation).
const KNOWN: &[&str] = &[
    "adapterType",
    "deletable",
    "encoding",
    "geometry.biosCylinders",
    "geometry.biosHeads",
    "geometry.biosSectors",
    "geometry.cylinders",
    "geometry.heads",
    "geometry.sectors",
    "iofilters",
    "isDigest",
    "isNativeLinkedClone",
    "KMFilters",
    "logicalSectorSize",
    "longContentID",
    "nativeParentHint",
    "objectParentUri",
    "physicalSectorSize",
    "resumeConsolidateSector",
    "sidecars",
    "thinProvisioned",
    "toolsInstallType",
    "toolsVersion",
    "uuid",
    "uuid.image",
    "uuid.modification",
    "uuid.parent",
    "uuid.parentmodification",
    "virtualHWVersion",
];

impl Disk {
    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>, Failure> {
        self.disk.ddb(key).map_err(explain)
    }

    /// Those of the usual keys that the disk has.
    pub(crate) fn metadata_keys(&self) -> Result<Vec<String>, Failure> {
        let values = self.disk.ddb_values(KNOWN).map_err(explain)?;
        let found = KNOWN
            .iter()
            .zip(values)
            .filter(|(_, value)| value.is_some());
        Ok(found.map(|(key, _)| (*key).to_owned()).collect())
    }

    /// What the host said when it opened the disk, and what the disk database adds (observed of VDDK by public clients).
    pub(crate) fn info(&self) -> Result<Info, Failure> {
        let keys = [
            "geometry.biosCylinders",
            "geometry.biosHeads",
            "geometry.biosSectors",
            "logicalSectorSize",
            "physicalSectorSize",
            "adapterType",
            "uuid",
        ];
        let mut values = self.disk.ddb_values(&keys).map_err(explain)?.into_iter();
        let mut next = || values.next().flatten();
        let number = |value: Option<String>| value.and_then(|text| text.trim().parse().ok());
        let bios_geometry = Geometry {
            cylinders: number(next()).unwrap_or(0),
            heads: number(next()).unwrap_or(0),
            sectors: number(next()).unwrap_or(0),
        };
        let size = |value: Option<String>| number(value).filter(|size| *size >= 512);
        let logical = size(next()).unwrap_or(self.disk.sector_size());
        let physical = size(next()).unwrap_or(logical);
        let adapter = next().map_or(Adapter::Unknown, |name| adapter(&name));
        let geometry = self.disk.geometry();
        Ok(Info {
            bios_geometry,
            physical_geometry: Geometry {
                cylinders: geometry.cylinders,
                heads: geometry.heads,
                sectors: geometry.sectors,
            },
            adapter,
            links: self.chain.links,
            parent_hint: self.chain.parent.clone(),
            uuid: next(),
            logical_sector_size: logical,
            physical_sector_size: physical,
        })
    }
}

fn adapter(name: &str) -> Adapter {
    match name.to_ascii_lowercase().as_str() {
        "ide" => Adapter::Ide,
        "buslogic" => Adapter::BusLogic,
        "lsilogic" => Adapter::LsiLogic,
        _ => Adapter::Unknown,
    }
}
