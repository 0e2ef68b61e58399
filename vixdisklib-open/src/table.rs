//! The function tables: what this crate offers, under the names of the C functions.

use vixdisklib_sys::FnTable;

use crate::abi::{
    access, attach, check, connect, create, disk, ext, extents, io, lifecycle, metadata, params,
    reshape,
};

/// Every function of VixDiskLib, and of `vixDiskLibExt.h`, over the engine.
///
/// Calls on one disk handle may run in parallel, `open` and `close` too. None of them panics across the boundary,
/// follows a handle, or crashes on null.
///
/// The structures have the members of VDDK 7.0 and later: this is [`table_of::<8>`](table_of).
pub static TABLE: FnTable = table_of::<8>();

/// The functions of a library that stands in for VDDK `MAJOR`, which is 6, 7, 8 or 9; another number does not compile.
///
/// Callers learn this number from the name of the library, and how much of a structure they may read from the number. As
/// 6, `GetInfo` therefore gives an info without sector sizes, `Create` and `Clone` read none, and `InitEx` refuses versions
/// from 7.0 on. The others differ in what they call themselves in the log, and in nothing else.
///
/// A program uses one table: the library between `InitEx` and `Exit` is that of the first.
#[must_use]
pub const fn table_of<const MAJOR: u32>() -> FnTable {
    const { assert!(6 <= MAJOR && MAJOR <= 9, "VDDK 6, 7, 8 or 9") };
    FnTable {
        init_ex: lifecycle::init_ex::<MAJOR>,
        init: Some(lifecycle::init::<MAJOR>),
        exit: lifecycle::exit,
        list_transport_modes: Some(lifecycle::list_transport_modes),
        get_error_text: lifecycle::get_error_text,
        free_error_text: lifecycle::free_error_text,

        allocate_connect_params: Some(params::allocate_connect_params),
        free_connect_params: params::free_connect_params,
        get_connect_params: Some(params::get_connect_params),
        connect: Some(connect::connect),
        connect_ex: connect::connect_ex,
        disconnect: connect::disconnect,
        cleanup: Some(connect::cleanup),
        prepare_for_access: Some(access::prepare_for_access),
        end_access: Some(access::end_access),

        open: disk::open,
        close: disk::close,
        get_info: disk::get_info,
        free_info: disk::free_info,
        get_transport_mode: disk::get_transport_mode,

        read: io::read,
        write: io::write,
        read_async: Some(io::read_async),
        write_async: Some(io::write_async),
        wait: io::wait,
        flush: io::flush,

        query_allocated_blocks: Some(extents::query_allocated_blocks),
        free_block_list: Some(extents::free_block_list),

        read_metadata: Some(metadata::read_metadata),
        write_metadata: Some(metadata::write_metadata),
        get_metadata_keys: Some(metadata::get_metadata_keys),

        create: create::create,
        create_child: Some(create::create_child),
        clone: Some(create::clone),
        space_needed_for_clone: Some(create::space_needed_for_clone),

        unlink: Some(reshape::unlink),
        rename: Some(reshape::rename),
        grow: Some(reshape::grow),
        shrink: Some(reshape::shrink),
        defragment: Some(reshape::defragment),
        check_repair: Some(check::check_repair),
        is_attach_possible: Some(attach::is_attach_possible),
        attach: Some(attach::attach),

        ext_write_zeroes: Some(ext::write_zeroes),
        ext_trim: Some(ext::trim),
        ext_query_extents: Some(ext::query_extents),
        ext_get_file_range: Some(ext::get_file_range),
        ext_get_property: Some(ext::get_property),
    }
}
