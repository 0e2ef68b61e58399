//! Extents from `VixDiskLibExt_QueryExtents`: exact to the sector.

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::{
    VIXDISKLIBEXT_EXTENT_ALLOCATED, VIXDISKLIBEXT_EXTENT_ZERO, VixDiskLibExtExtent,
    VixDiskLibHandle,
};

use super::Extent;
use crate::api::Api;
use crate::error::{Error, ErrorKind, Operation, Result};

/// How many extents one call asks for: 24 KiB of them.
const PAGE: usize = 1024;

/// The first runs of `range`.
pub(crate) fn query(
    api: &Api,
    handle: VixDiskLibHandle,
    range: SectorRange,
) -> Result<Vec<Extent>> {
    let Some(query) = api.table.ext_query_extents else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            Operation::Extents,
            "the library has no such call",
        ));
    };
    let mut extents = vec![
        VixDiskLibExtExtent {
            offset: 0,
            length: 0,
            flags: 0,
            depth: 0
        };
        PAGE
    ];
    let mut found = 0;
    let (start, count) = (range.start().get(), range.count().get());
    api.call(Operation::Extents, |_| {
        // SAFETY: the handle is open, and either its calls may run in parallel or the caller has settled it; the
        // array has room for `PAGE` extents; both outputs are writable.
        unsafe {
            query(
                handle,
                start,
                count,
                extents.as_mut_ptr(),
                PAGE,
                &raw mut found,
            )
        }
    })?;
    extents.truncate(found);
    let extents = extents.iter().map(convert).collect::<Option<Vec<_>>>();
    extents
        .filter(|extents| follow(range, extents))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Other,
                Operation::Extents,
                "the library's extents do not follow each other",
            )
        })
}

fn convert(extent: &VixDiskLibExtExtent) -> Option<Extent> {
    let range = SectorRange::new(Sector::new(extent.offset), SectorCount::new(extent.length))?;
    Some(Extent {
        range,
        allocated: extent.flags & VIXDISKLIBEXT_EXTENT_ALLOCATED != 0,
        zero: extent.flags & VIXDISKLIBEXT_EXTENT_ZERO != 0,
        depth: extent.depth,
    })
}

/// Whether the extents start where `range` does, leave no gap, and end inside it.
fn follow(range: SectorRange, extents: &[Extent]) -> bool {
    let end = extents.iter().try_fold(range.start(), |position, extent| {
        (extent.range.start() == position && !extent.range.is_empty()).then_some(extent.range.end())
    });
    end.is_some_and(|end| range.start() < end && end <= range.end())
}
