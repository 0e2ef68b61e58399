//! Using less space, or using it in order; nobody else uses the disk meanwhile.
//!
//! The content stays the same, and so does the content id: children and backups go on to fit.

use disk_units::ByteLen;

use super::{Link, PlacedExtent};
use crate::error::{Error, Refusal};
use crate::extent::Below;
use crate::map::Allocation;
use crate::progress::{Watcher, Work};

impl Link {
    pub(crate) fn shrink(&self, below: &dyn Below, watcher: Watcher<'_>) -> Result<(), Error> {
        self.fuse.check()?;
        let extents: Vec<&PlacedExtent> = self
            .extents
            .iter()
            .filter(|placed| placed.is_writable && placed.extent.can_shrink())
            .collect();
        if extents.is_empty() {
            return Err(Refusal::CannotShrink.into());
        }
        let bytes = allocated_bytes(&extents)?.saturating_mul(2);
        let mut work = Work::begin(ByteLen::new(bytes), watcher)?;
        for placed in extents {
            placed
                .extent
                .shrink(&placed.view(below), &mut work)
                .map_err(|error| placed.named(error))?;
        }
        work.finish();
        Ok(())
    }

    pub(crate) fn defragment(&self, watcher: Watcher<'_>) -> Result<(), Error> {
        self.fuse.check()?;
        let extents: Vec<&PlacedExtent> = self
            .extents
            .iter()
            .filter(|placed| placed.is_writable)
            .collect();
        let mut work = Work::begin(ByteLen::new(allocated_bytes(&extents)?), watcher)?;
        for placed in extents {
            placed
                .extent
                .defragment(&mut work)
                .map_err(|error| placed.named(error))?;
        }
        work.finish();
        Ok(())
    }

    /// Forgets everything, so that the parents show everywhere.
    pub(crate) fn empty(&self) -> Result<(), Error> {
        self.fuse.check()?;
        self.for_all_written(|extent| extent.empty())
    }
}

fn allocated_bytes(extents: &[&PlacedExtent]) -> Result<u64, Error> {
    let mut sectors = 0_u64;
    for placed in extents {
        let whole = crate::units::relative(placed.range, placed.range.start());
        for run in placed.extent.map(whole) {
            let (range, state) = run.map_err(|error| placed.named(error))?;
            if state == Allocation::Data {
                sectors = sectors.saturating_add(range.count().get());
            }
        }
    }
    Ok(sectors.saturating_mul(512))
}
