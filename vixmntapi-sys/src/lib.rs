//! Raw VixMntapi

#[allow(
    non_camel_case_types,
    non_snake_case,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps the names of C and its own form"
)]
mod bindings;
mod table;

pub use bindings::*;
pub use table::FnTable;
pub use vixdisklib_sys::{
    Bool, MissingSymbols, Symbol, VixDiskLibConnection, VixDiskLibGenericLogFunc, VixDiskLibHandle,
    VixError,
};
