//! How much space a clone takes.

use disk_units::{ByteLen, SectorCount, SectorRange};

use crate::create::space_of_new_disk;
use crate::disk::Disk;
use crate::error::{Error, Operation};
use crate::info::DiskKind;
use crate::map::Allocation;
use crate::units::GrainSize;

/// Sectors of a grain in a new disk.
const GRAIN: u64 = 128;
/// Grains of a grain table.
const GRAINS_PER_TABLE: u64 = 512;
/// The most sectors that a compressed grain takes.
const RECORD: u64 = 129;
/// A grain table and its marker.
const TABLE: u64 = 5;

impl Disk {
    /// How many bytes a clone of this disk takes at most, in a disk of this kind; see [`Disk::clone_to`].
    ///
    /// What is allocated is counted, and not read: where that holds zeros the clone is smaller. Otherwise the numbers are
    /// exact for sparse disks but for the descriptor of split ones; for flat and thin ones they count 64 KiB for the
    /// descriptor; and for compressed ones no grain is taken to become smaller.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) and [`FileTooBig`](crate::ErrorKind::FileTooBig) where there can be
    /// no such clone, and all of [`Disk::extents`].
    pub fn space_needed_for_clone(&self, kind: DiskKind) -> Result<ByteLen, Error> {
        self.space_needed(kind)
            .map_err(|error| error.at(self.chain().path()).during(Operation::Clone, None))
    }

    fn space_needed(&self, kind: DiskKind) -> Result<ByteLen, Error> {
        let empty = space_of_new_disk(kind, self.capacity())?.get();
        let sectors = |count: u64| count.saturating_mul(512);
        let bytes = match kind {
            DiskKind::MonolithicSparse | DiskKind::SplitSparse | DiskKind::VmfsThin => {
                empty.saturating_add(sectors(self.allocated_grains()?.saturating_mul(GRAIN)))
            }
            DiskKind::StreamOptimized => {
                let tables = grain_size()
                    .grains_in(self.capacity())
                    .div_ceil(GRAINS_PER_TABLE);
                let directory = ByteLen::new(tables.saturating_mul(4)).sectors_rounded_up();
                let records = self.allocated_grains()?.saturating_mul(RECORD);
                // Header and text; and behind the tables three markers, the directory and the footer.
                let around = directory.get().saturating_add(GRAIN.saturating_add(4));
                sectors(
                    records
                        .saturating_add(tables.saturating_mul(TABLE))
                        .saturating_add(around),
                )
            }
            _ => empty,
        };
        Ok(ByteLen::new(bytes))
    }

    /// How many grains of a new disk hold anything that this one may have.
    fn allocated_grains(&self) -> Result<u64, Error> {
        let size = grain_size();
        let mut grains = 0_u64;
        // The first grain that was not looked at.
        let mut next = 0;
        for extent in self.extents(SectorRange::whole(self.capacity())) {
            let extent = extent?;
            if matches!(extent.state, Allocation::Data | Allocation::Unknown) {
                let first = size.grain_of(extent.range.start()).max(next);
                let end = size.grains_in(SectorCount::new(extent.range.end().get()));
                grains = grains.saturating_add(end.saturating_sub(first));
                next = next.max(end);
            }
        }
        Ok(grains)
    }
}

fn grain_size() -> GrainSize {
    GrainSize::new(GRAIN).expect("128 is a power of two")
}
