//! The engine's table with the functions of ours.

use vixdisklib_open::TABLE as ENGINE;
use vixdisklib_sys::FnTable;

use crate::{access, aio, connect, disk, info};

pub(crate) static TABLE: FnTable = FnTable {
    init_ex: connect::init_ex,
    exit: connect::exit,
    connect_ex: connect::connect_ex,
    disconnect: connect::disconnect,
    open: connect::open,
    close: disk::close,
    get_info: info::get_info,
    free_info: info::free_info,
    get_transport_mode: disk::get_transport_mode,
    read: disk::read,
    write: disk::write,
    flush: disk::flush,
    wait: disk::wait,
    prepare_for_access: Some(access::prepare_for_access),
    end_access: Some(access::end_access),
    list_transport_modes: Some(connect::list_transport_modes),
    read_async: Some(aio::read_async),
    write_async: Some(aio::write_async),
    query_allocated_blocks: Some(disk::query_allocated_blocks),
    read_metadata: Some(disk::read_metadata),
    get_metadata_keys: Some(disk::get_metadata_keys),
    ext_write_zeroes: None,
    ext_trim: None,
    ext_query_extents: None,
    ext_get_file_range: None,
    ext_get_property: None,
    ..ENGINE
};
