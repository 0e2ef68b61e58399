//! QueryAllocatedBlocks and FreeBlockList.

use std::mem::offset_of;
use std::ptr;

use disk_units::{Sector, SectorCount, SectorRange};
use vixdisklib_sys::{
    VixDiskLibBlock, VixDiskLibBlockList, VixDiskLibHandle, VixDiskLibSectorType, VixError,
};

use super::boundary::call;
use super::disk::handle;
use super::pointer;
use crate::blocks::ChunkQuery;
use crate::error::Failure;
use crate::lent::Lent;
use crate::library::current;

/// The block lists that callers hold.
static BLOCK_LISTS: Lent<Vec<u64>> = Lent::new();

/// `VixDiskLib_QueryAllocatedBlocks`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn query_allocated_blocks(
    disk: VixDiskLibHandle,
    start: VixDiskLibSectorType,
    count: VixDiskLibSectorType,
    chunk: VixDiskLibSectorType,
    list: *mut *mut VixDiskLibBlockList,
) -> VixError {
    call("VixDiskLib_QueryAllocatedBlocks", || {
        // SAFETY: the contract of `abi`, for a pointer to a result.
        let output = unsafe { pointer::output(list, "blockList") }?;
        let output = output.write(ptr::null_mut());
        let disk = current()?.disk(handle(disk))?;
        let query = ChunkQuery::new(
            Sector::new(start),
            SectorCount::new(count),
            SectorCount::new(chunk),
            disk.capacity(),
        )?;
        *output = lend(&disk.allocated(query)?)?;
        Ok(())
    })
}

/// `VixDiskLib_FreeBlockList`. Null is fine; what is not on loan gives `VIX_E_INVALID_ARG`.
///
/// # Safety
/// The contract of [`abi`](super).
pub(crate) unsafe extern "C" fn free_block_list(list: *mut VixDiskLibBlockList) -> VixError {
    call("VixDiskLib_FreeBlockList", || {
        if list.is_null() || BLOCK_LISTS.take_back(list).is_some() {
            return Ok(());
        }
        Err(Failure::new(
            VixError::INVALID_ARG,
            "no list from VixDiskLib_QueryAllocatedBlocks is at this address",
        ))
    })
}

/// Puts runs into the C structure: a count, and behind it as many elements of an array that C declares with one.
fn lend(runs: &[SectorRange]) -> Result<*mut VixDiskLibBlockList, Failure> {
    let count = u32::try_from(runs.len())
        .map_err(|_| Failure::new(VixError::FAIL, format!("{} runs", runs.len())))?;
    let bytes = offset_of!(VixDiskLibBlockList, blocks) + size_of_val(runs);
    let size = bytes.max(size_of::<VixDiskLibBlockList>());
    // Of words, because the allocation must be aligned as the structure is.
    let mut memory = vec![0_u64; size.div_ceil(size_of::<u64>())];
    let list = memory.as_mut_ptr().cast::<VixDiskLibBlockList>();
    // SAFETY: the field lies inside `memory`; only its address is taken.
    let count_place = unsafe { &raw mut (*list).numBlocks };
    // SAFETY: inside `memory`, which is aligned for the structure and used by nobody else yet.
    unsafe { count_place.write(count) };
    // SAFETY: the field lies inside `memory`; only its address is taken.
    let blocks = unsafe { &raw mut (*list).blocks }.cast::<VixDiskLibBlock>();
    for (index, run) in runs.iter().enumerate() {
        // SAFETY: `memory` has room for as many elements as there are runs, from the field `blocks` on.
        let block = unsafe { blocks.add(index) };
        let value = VixDiskLibBlock {
            offset: run.start().get(),
            length: run.count().get(),
        };
        // SAFETY: inside `memory`, as above; unaligned because Windows packs the list to 4 bytes.
        unsafe { block.write_unaligned(value) };
    }
    Ok(BLOCK_LISTS.lend(list, memory))
}

// One run takes as much room as one element.
const _: () = assert!(size_of::<SectorRange>() == size_of::<VixDiskLibBlock>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_every_run() {
        for count in [0, 1, 2, 1000] {
            let runs: Vec<SectorRange> = (0..count)
                .map(|number| {
                    SectorRange::new(Sector::new(number * 256), SectorCount::new(128))
                        .expect("small")
                })
                .collect();
            let list = lend(&runs).expect("few");
            // SAFETY: just lent.
            let length = unsafe { (*list).numBlocks };
            assert_eq!(u64::from(length), count);
            // SAFETY: just lent; only an address is taken.
            let blocks = unsafe { &raw const (*list).blocks }.cast::<VixDiskLibBlock>();
            for (index, run) in runs.iter().enumerate() {
                // SAFETY: the list has an element for each run.
                let block = unsafe { blocks.add(index) };
                // SAFETY: as above.
                let block = unsafe { block.read_unaligned() };
                let (offset, length) = (block.offset, block.length);
                assert_eq!((offset, length), (run.start().get(), run.count().get()));
            }
            // SAFETY: lent above and not used again.
            assert_eq!(unsafe { free_block_list(list) }, VixError::OK);
            // SAFETY: an address that is not on loan is only looked up.
            assert_eq!(unsafe { free_block_list(list) }, VixError::INVALID_ARG);
        }
        // SAFETY: null is only looked up.
        assert_eq!(unsafe { free_block_list(ptr::null_mut()) }, VixError::OK);
    }
}
