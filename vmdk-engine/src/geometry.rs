//! Cylinders, heads and sectors of a disk.
//!
//! Facts: the geometry that VMware products record for disks of each adapter and size (observed in descriptors of
//! Workstation and ESX; the range between 1 and 2 GiB from the GSX Server 3 guide).

use disk_units::SectorCount;

use crate::info::Adapter;

/// A disk geometry. The default, all zero, means that none is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u32,
    /// Heads, which are tracks per cylinder.
    pub heads: u32,
    /// Sectors per track.
    pub sectors: u32,
}

impl Geometry {
    /// What VMware products choose for a disk of this size, and at least one cylinder.
    #[must_use]
    pub fn for_disk(adapter: Adapter, capacity: SectorCount) -> Self {
        const GIB: u64 = 2 * 1024 * 1024;
        let (heads, sectors) = match (adapter, capacity.get()) {
            (Adapter::Ide, _) => (16, 63),
            (_, 0..=GIB) => (64, 32),
            (_, ..=0x40_0000) => (128, 32),
            _ => (255, 63),
        };
        let per_cylinder = u64::from(heads).saturating_mul(u64::from(sectors)).max(1);
        let cylinders = capacity.get().checked_div(per_cylinder).unwrap_or(0).max(1);
        Self {
            cylinders: u32::try_from(cylinders).unwrap_or(u32::MAX),
            heads,
            sectors,
        }
    }

    /// The recorded physical geometry; computed where it is missing, zero or not a number.
    pub(crate) fn physical(
        metadata: &dyn Fn(&str) -> Option<String>,
        adapter: Adapter,
        capacity: SectorCount,
    ) -> Self {
        let keys = ["geometry.cylinders", "geometry.heads", "geometry.sectors"];
        let recorded = Self::recorded(metadata, keys);
        if recorded.cylinders == 0 || recorded.heads == 0 || recorded.sectors == 0 {
            return Self::for_disk(adapter, capacity);
        }
        recorded
    }

    /// The recorded BIOS translation; zeros where there is none.
    pub(crate) fn bios(metadata: &dyn Fn(&str) -> Option<String>) -> Self {
        let keys = [
            "geometry.biosCylinders",
            "geometry.biosHeads",
            "geometry.biosSectors",
        ];
        Self::recorded(metadata, keys)
    }

    fn recorded(metadata: &dyn Fn(&str) -> Option<String>, keys: [&str; 3]) -> Self {
        let [cylinders, heads, sectors] = keys
            .map(|key| metadata(key)?.trim().parse().ok())
            .map(Option::unwrap_or_default);
        Self {
            cylinders,
            heads,
            sectors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Descriptor;

    #[test]
    fn sizes_seen_in_real_descriptors() {
        use Adapter::{Ide, LsiLogic};
        for (adapter, capacity, cylinders, heads, sectors) in [
            (Ide, 10_485_760, 10402, 16, 63),
            (Ide, 83_886_080, 83220, 16, 63),
            (LsiLogic, 4096, 2, 64, 32),
            (LsiLogic, 61440, 30, 64, 32),
            (LsiLogic, 2_097_152, 1024, 64, 32),
            (LsiLogic, 4_194_304, 1024, 128, 32),
            (LsiLogic, 33_554_432, 2088, 255, 63),
            (LsiLogic, 125_829_120, 7832, 255, 63),
            (LsiLogic, 1_048_576_000, 65270, 255, 63),
            (LsiLogic, 1, 1, 64, 32),
        ] {
            assert_eq!(
                Geometry::for_disk(adapter, SectorCount::new(capacity)),
                Geometry {
                    cylinders,
                    heads,
                    sectors
                }
            );
        }
    }

    #[test]
    fn odd_records_never_fail() {
        let text = "version=1\nRW 4096 ZERO\nddb.geometry.cylinders = \"many\"\nddb.geometry.heads = \"0\"\n";
        let descriptor = Descriptor::parse(text.as_bytes()).expect("valid");
        let metadata = |key: &str| descriptor.metadata(key);
        let physical = Geometry::physical(&metadata, Adapter::LsiLogic, SectorCount::new(4096));
        assert_eq!(
            physical,
            Geometry {
                cylinders: 2,
                heads: 64,
                sectors: 32
            }
        );
        assert_eq!(Geometry::bios(&metadata), Geometry::default());
    }
}
