//! Which chunks of a disk hold data.

use std::ops::Range;

use vmdk_engine::{Allocation, Sector, SectorCount, SectorRange};
use vsphere_nfc::wire::aio::{Bitmap, QueryBlocks};

use super::file::{FAILED, OpenDisk, Refusal, refusal_of};

/// The bitmap for a request.
pub(super) fn allocated(disk: &OpenDisk, query: QueryBlocks) -> Result<(Bitmap, Vec<u8>), Refusal> {
    let QueryBlocks {
        chunk,
        start,
        count,
        ..
    } = query;
    let misaligned = || {
        Refusal::new(
            FAILED,
            "start and length are not multiples of the chunk size",
        )
    };
    if chunk == 0 || !chunk.is_multiple_of(512) || !start.is_multiple_of(chunk) {
        return Err(misaligned());
    }
    let length = chunk.checked_mul(count).ok_or_else(misaligned)?;
    disk.check(start, length)?;
    let range = SectorRange::new(Sector::new(start / 512), SectorCount::new(length / 512))
        .ok_or_else(misaligned)?;
    let mut chunks: Vec<Range<u64>> = Vec::new();
    for extent in disk.disk.extents(range) {
        let extent = extent.map_err(|error| refusal_of(&error, "disk"))?;
        if extent.state == Allocation::Data {
            let first = (extent.range.start().get() * 512 - start) / chunk;
            let after = (extent.range.end().get() * 512 - start).div_ceil(chunk);
            chunks.push(first..after);
        }
    }
    let bitmap = Bitmap::new(count).map_err(|error| Refusal::new(FAILED, error.to_string()))?;
    Ok((bitmap, bitmap.pack(chunks)))
}
