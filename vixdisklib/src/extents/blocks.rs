//! Extents from `VixDiskLib_QueryAllocatedBlocks` (VDDK 6.7), and the limits of that call.
//!
//! The call takes start and length in whole chunks, at most 524,288 of them, and refuses the part of the last chunk
//! that a disk does not fill (Virtual Disk Programming Guide; VDDK release notes): that tail, and a disk smaller
//! than a chunk, count as data. The call may exist without working on a disk, so one small query finds out first, and
//! what the library logs about that is kept low.
//!
//! What a library lists is believed as long as it is in order: runs that touch are joined. Runs that are not sorted,
//! overlap, or leave what was asked for are an error, since nothing else of such a list can be trusted.

use std::ptr;
use std::sync::{Arc, OnceLock};

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::{
    VIXDISKLIB_MAX_CHUNK_NUMBER, VixDiskLibBlock, VixDiskLibBlockList, VixDiskLibHandle, VixError,
};

use super::{ChunkSize, Extent};
use crate::api::Api;
use crate::disk::Facts;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::log;

/// What is known of the call on one disk.
#[derive(Debug, Default)]
pub(crate) struct BlockQuery {
    /// Why the call cannot be used, once it was tried.
    failure: OnceLock<Option<Arc<Error>>>,
}

impl BlockQuery {
    /// The first runs of `range`, in chunks; runs on the control thread.
    pub(crate) fn page(
        &self,
        api: &Api,
        handle: VixDiskLibHandle,
        facts: &Facts,
        range: SectorRange,
        chunk: ChunkSize,
    ) -> Result<Vec<Extent>> {
        let Some(window) = window(facts.info.capacity, range, chunk) else {
            return Ok(vec![Extent::unknown(range)]);
        };
        if self.failure(api, handle, facts).is_some() {
            return Ok(vec![Extent::unknown(range)]);
        }
        let blocks = query(api, handle, window, chunk)?;
        runs(range, window, &blocks)
    }

    /// Why the call cannot be used on this disk; asked once, on the control thread.
    pub(crate) fn failure(
        &self,
        api: &Api,
        handle: VixDiskLibHandle,
        facts: &Facts,
    ) -> Option<Arc<Error>> {
        let failure = self.failure.get_or_init(|| {
            let probe = ChunkSize::MIN.sectors();
            let tried = if facts.info.capacity < probe {
                let text = format!("a disk below {probe} sectors has no chunk to ask for");
                Err(Error::new(ErrorKind::Unsupported, Operation::Extents, text))
            } else {
                log::quietly(|| query(api, handle, SectorRange::whole(probe), ChunkSize::MIN))
            };
            let error = facts.locate(tried.err()?);
            tracing::debug!(%error, "allocation cannot be asked for; all counts as data");
            Some(Arc::new(error))
        });
        failure.clone()
    }
}

/// What to ask for so that the answer covers the start of `range`: whole chunks, not too many; `None` in the tail.
fn window(capacity: SectorCount, range: SectorRange, chunk: ChunkSize) -> Option<SectorRange> {
    let whole = chunk.floor(SectorRange::whole(capacity).end());
    let start = chunk.floor(range.start());
    let most = Sector::new(
        chunk
            .sectors()
            .get()
            .saturating_mul(VIXDISKLIB_MAX_CHUNK_NUMBER.into())
            .saturating_add(start.get()),
    );
    let end = chunk.ceil(range.end(), whole).min(most);
    SectorRange::between(start, end)
        .filter(|window| !window.is_empty() && window.contains(range.start()))
}

/// The library's blocks inside `window` as runs that cover its part of `range`.
fn runs(range: SectorRange, window: SectorRange, blocks: &[SectorRange]) -> Result<Vec<Extent>> {
    let described = range.intersection(window).unwrap_or_default();
    let mut runs = Vec::new();
    let mut rest = described;
    let mut last = window.start();
    for block in blocks {
        if block.start() < last || block.end() > window.end() {
            let text = format!(
                "the library lists sectors {block}, which are out of order or outside {window}"
            );
            return Err(Error::new(ErrorKind::Other, Operation::Extents, text));
        }
        last = block.end();
        let (hole, behind) = rest.split_at(block.start());
        let (data, behind) = behind.split_at(block.end());
        runs.extend((!hole.is_empty()).then_some(Extent {
            range: hole,
            allocated: false,
            zero: true,
            depth: 0,
        }));
        runs.extend((!data.is_empty()).then_some(Extent::unknown(data)));
        rest = behind;
    }
    runs.extend((!rest.is_empty()).then_some(Extent {
        range: rest,
        allocated: false,
        zero: true,
        depth: 0,
    }));
    Ok(runs)
}

/// `VixDiskLib_QueryAllocatedBlocks`, its answer copied and freed.
fn query(
    api: &Api,
    handle: VixDiskLibHandle,
    window: SectorRange,
    chunk: ChunkSize,
) -> Result<Vec<SectorRange>> {
    let (Some(query), Some(free)) = (api.table.query_allocated_blocks, api.table.free_block_list)
    else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            Operation::Extents,
            "the library has no such call",
        ));
    };
    let mut list: *mut VixDiskLibBlockList = ptr::null_mut();
    let (start, count) = (window.start().get(), window.count().get());
    api.call(Operation::Extents, |_| {
        // SAFETY: the handle is open and no other call uses it now, as the caller has settled it; start and count
        // are whole chunks inside the disk; the output is writable.
        unsafe { query(handle, start, count, chunk.sectors().get(), &raw mut list) }
    })?;
    if list.is_null() {
        return Err(Error::new(
            ErrorKind::Other,
            Operation::Extents,
            "the library gave no list",
        ));
    }
    // SAFETY: not null, so a list of the library that lives until it is freed below.
    let length = unsafe { (*list).numBlocks };
    // SAFETY: the field lies inside the same list; taking its address reads nothing.
    let first: *const VixDiskLibBlock = unsafe { &raw const (*list).blocks }.cast();
    // Blocks are whole chunks, so a longer list overlaps, and need not be as long as it says.
    let most = window.count().get() / chunk.sectors().get();
    let listed = if u64::from(length) <= most { length } else { 0 };
    let blocks = (0..listed as usize)
        .map(|index| {
            // SAFETY: the array really has `numBlocks` entries, all in one allocation.
            let entry = unsafe { first.add(index) };
            // SAFETY: an entry of that array; read without asking for alignment, as the structure may be packed.
            let block = unsafe { entry.read_unaligned() };
            SectorRange::new(Sector::new(block.offset), SectorCount::new(block.length))
        })
        .collect::<Option<Vec<_>>>();
    // SAFETY: the list came from the partner of this call and is not used again.
    let freed = unsafe { free(list) };
    if freed != VixError::OK {
        tracing::debug!(code = freed.0, "freeing a block list failed");
    }
    if listed != length {
        let text = format!("the library lists {length} runs where {most} chunks were asked for");
        return Err(Error::new(ErrorKind::Other, Operation::Extents, text));
    }
    blocks.ok_or_else(|| {
        Error::new(
            ErrorKind::Other,
            Operation::Extents,
            "the library lists sectors that cannot exist",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn windows_are_whole_chunks_inside_the_disk() {
        let chunk = ChunkSize::MIN;
        let window = |capacity, part| window(SectorCount::new(capacity), part, chunk);
        assert_eq!(window(1000, range(0, 1000)), Some(range(0, 896)));
        assert_eq!(window(1000, range(130, 140)), Some(range(128, 256)));
        assert_eq!(window(1000, range(896, 1000)), None);
        assert_eq!(window(127, range(0, 127)), None);
        assert_eq!(window(128, range(0, 128)), Some(range(0, 128)));
        let most = 128 * u64::from(VIXDISKLIB_MAX_CHUNK_NUMBER);
        assert_eq!(
            window(1 << 40, range(128, 1 << 40)),
            Some(range(128, 128 + most))
        );
        assert_eq!(window(u64::MAX, range(u64::MAX - 1, u64::MAX)), None);
    }

    #[test]
    fn blocks_become_runs_without_gap() {
        let found = runs(
            range(100, 700),
            range(0, 640),
            &[range(128, 256), range(512, 640)],
        )
        .expect("in order");
        let shape: Vec<_> = found.iter().map(|run| (run.range, run.allocated)).collect();
        assert_eq!(
            shape,
            [
                (range(100, 128), false),
                (range(128, 256), true),
                (range(256, 512), false),
                (range(512, 640), true)
            ]
        );
    }

    #[test]
    fn nonsense_from_the_library_is_an_error() {
        assert!(
            runs(
                range(0, 640),
                range(0, 640),
                &[range(128, 256), range(0, 128)]
            )
            .is_err()
        );
        assert!(runs(range(0, 640), range(0, 640), &[range(512, 768)]).is_err());
    }
}
