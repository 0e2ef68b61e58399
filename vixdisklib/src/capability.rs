//! What a back end can do.

use vixdisklib_sys::FnTable;

/// What the library behind a [`Library`](crate::Library) or a disk offers beyond the calls that every one has.
///
/// The embedded engine has all of it for local disks; disks on servers it does not trim, knows their extents in chunks of
/// 128 sectors, and finds none of their sectors in a file, although it can be asked. VDDK has no call for
/// the last five: zeroes are then written, nothing is trimmed, extents come in chunks of at least 128 sectors, what is sent
/// is read first, and requests on one disk go one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Reads and writes can be submitted and complete later. VDDK 6.0 and later.
    pub async_io: bool,
    /// Allocated areas can be asked for. VDDK 6.7 and later.
    pub allocated_blocks: bool,
    /// Zeroing can be left to the library, which may free space or promise to be fast.
    pub write_zeroes: bool,
    /// Space can be given back.
    pub trim: bool,
    /// Extents are exact to the sector, up to the end of the disk.
    pub exact_extents: bool,
    /// It can be asked in which file sectors lie as they are.
    pub file_ranges: bool,
    /// Calls on one disk may run in parallel. Known of an open disk only.
    pub parallel_io: bool,
}

impl Capabilities {
    pub(crate) fn of(table: &FnTable) -> Self {
        Self {
            async_io: table.read_async.is_some() && table.write_async.is_some(),
            allocated_blocks: table.query_allocated_blocks.is_some()
                && table.free_block_list.is_some(),
            write_zeroes: table.ext_write_zeroes.is_some(),
            trim: table.ext_trim.is_some(),
            exact_extents: table.ext_query_extents.is_some(),
            file_ranges: table.ext_get_file_range.is_some(),
            parallel_io: false,
        }
    }
}
