//! vixdisklib-sys

#[allow(
    non_camel_case_types,
    non_snake_case,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps the names of C and its own form"
)]
mod bindings;
mod error;
#[cfg(feature = "loader")]
pub mod loader;
mod table;
pub mod va_list;

pub use bindings::*;
pub use error::VixError;
#[doc(hidden)]
pub use table::Refusal;
pub use table::{FnTable, MissingSymbols, Symbol};
pub use va_list::{VaList, VixDiskLibGenericLogFunc, VixDiskLibGenericLogVFunc};
