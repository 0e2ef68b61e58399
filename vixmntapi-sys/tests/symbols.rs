//! The function table against the header: the same functions, and the same signatures.

use std::collections::BTreeSet;
use std::fs;

use vixmntapi_sys::{FnTable, VixDiskSetHandle, VixError};

#[allow(
    non_snake_case,
    clippy::useless_conversion,
    unreachable_pub,
    missing_docs,
    reason = "generated code keeps the names of C and its own form"
)]
mod prototypes;

#[test]
fn the_table_lists_exactly_what_the_header_declares() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/vixMntapi.h");
    let text = fs::read_to_string(path).expect("header");
    let declared: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("VixMntapi_"))
        .collect();
    let listed: BTreeSet<&str> = FnTable::SYMBOLS.iter().map(|symbol| symbol.name).collect();
    assert_eq!(declared, listed);
    assert_eq!(listed.len(), 15);
}

extern "C" fn anything() {}

extern "C" fn close(_: VixDiskSetHandle) -> VixError {
    VixError::LICENSE
}

/// A table in which only `close_disk_set` may be called.
const TABLE: FnTable = {
    let words = [anything as extern "C" fn(); FnTable::SYMBOLS.len()];
    // SAFETY: the table is one function pointer per symbol; those that have another signature are not called.
    let mut table =
        unsafe { std::mem::transmute::<[extern "C" fn(); FnTable::SYMBOLS.len()], FnTable>(words) };
    table.close_disk_set = close;
    table.open_disk_set = None;
    table
};

vixmntapi_sys::export_symbols!(crate::TABLE);

/// The functions are those which the macro has exported just above. That this compiles shows that the table has the
/// signatures of the header, as bindgen reads them.
#[test]
fn the_signatures_are_those_of_the_header() {
    let mut table = TABLE;
    prototypes::assign(&mut table);
    // SAFETY: leads to `close`, which ignores its argument.
    let called = unsafe { (table.close_disk_set)(std::ptr::null_mut()) };
    assert_eq!(called, VixError::LICENSE);
}
