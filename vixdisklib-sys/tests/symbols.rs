//! The function table against the headers: the same functions, and the same signatures.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs;

use vixdisklib_sys::{FnTable, VixDiskLibHandle, VixError};

#[allow(
    non_snake_case,
    clippy::too_many_arguments,
    clippy::useless_conversion,
    unreachable_pub,
    missing_docs,
    reason = "generated code keeps the names of C and its own form"
)]
mod prototypes;

/// The functions that a header declares: an identifier of the library with an opening parenthesis behind it.
fn declared(header: &str) -> BTreeSet<String> {
    let path = format!("{}/include/{header}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("header");
    text.lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("VixDiskLib_") || name.starts_with("VixDiskLibExt_"))
        .map(str::to_owned)
        .collect()
}

fn listed(header: &str) -> BTreeSet<String> {
    FnTable::SYMBOLS
        .iter()
        .filter(|symbol| symbol.header == header)
        .map(|symbol| symbol.name.to_owned())
        .collect()
}

#[test]
fn the_table_lists_exactly_what_the_headers_declare() {
    for (header, count) in [("vixDiskLib.h", 43), ("vixDiskLibExt.h", 5)] {
        assert_eq!(declared(header), listed(header));
        assert_eq!(listed(header).len(), count);
    }
    assert_eq!(FnTable::SYMBOLS.len(), 48);
}

#[test]
fn the_required_functions_are_those_of_every_supported_release() {
    let required: BTreeSet<&str> = FnTable::SYMBOLS
        .iter()
        .filter(|symbol| symbol.required)
        .map(|symbol| symbol.name.trim_start_matches("VixDiskLib_"))
        .collect();
    let expected = BTreeSet::from([
        "InitEx",
        "Exit",
        "GetErrorText",
        "FreeErrorText",
        "FreeConnectParams",
        "ConnectEx",
        "Disconnect",
        "Open",
        "Close",
        "GetInfo",
        "FreeInfo",
        "GetTransportMode",
        "Read",
        "Write",
        "Create",
        "Flush",
        "Wait",
    ]);
    assert_eq!(required, expected);
}

extern "C" fn anything() {}

#[test]
fn resolve_names_all_that_is_missing_and_only_that() {
    // SAFETY: nothing calls the functions.
    let result = unsafe {
        FnTable::resolve(|name| match name.to_bytes() {
            b"VixDiskLib_Open" | b"VixDiskLib_Wait" | b"VixDiskLib_Clone" => std::ptr::null(),
            _ => anything as *const c_void,
        })
    };
    let missing = result.expect_err("two required ones are missing");
    assert_eq!(missing.names(), ["VixDiskLib_Open", "VixDiskLib_Wait"]);
}

#[test]
fn resolve_leaves_optional_functions_out() {
    let required: BTreeSet<&str> = FnTable::SYMBOLS
        .iter()
        .filter(|symbol| symbol.required)
        .map(|symbol| symbol.name)
        .collect();
    // SAFETY: nothing calls the functions.
    let table = unsafe {
        FnTable::resolve(|name| {
            if required.contains(name.to_str().expect("ASCII")) {
                anything as *const c_void
            } else {
                std::ptr::null()
            }
        })
    }
    .expect("all required ones are there");
    assert!(table.query_allocated_blocks.is_none());
    assert!(table.ext_trim.is_none());
    assert_eq!(table.read as usize, anything as *const () as usize);
}

extern "C" fn flush(_: VixDiskLibHandle) -> VixError {
    VixError::LICENSE
}

/// A table in which only `flush` may be called.
const TABLE: FnTable = {
    let words = [anything as extern "C" fn(); FnTable::SYMBOLS.len()];
    // SAFETY: the table is one function pointer per symbol; those that have another signature are not called.
    let mut table =
        unsafe { std::mem::transmute::<[extern "C" fn(); FnTable::SYMBOLS.len()], FnTable>(words) };
    table.flush = flush;
    table.ext_trim = None;
    table.allocate_connect_params = None;
    table
};

vixdisklib_sys::export_symbols!(crate::TABLE);

/// The functions are those which the macro has exported just above. That this compiles shows that the table has the
/// signatures of the header, as bindgen reads them.
#[test]
fn the_signatures_are_those_of_the_header() {
    let mut table = TABLE;
    prototypes::assign(&mut table);
    assert_ne!(table.flush as usize, flush as *const () as usize);
    // SAFETY: leads to `flush`, which ignores its argument.
    let called = unsafe { (table.flush)(std::ptr::null_mut()) };
    assert_eq!(called, VixError::LICENSE);
}

#[test]
fn an_exported_function_that_the_table_lacks_refuses() {
    // SAFETY: the table has no such function, so nothing looks at the arguments.
    let refused = unsafe { prototypes::VixDiskLibExt_Trim(std::ptr::null_mut(), 0, 0) };
    assert_eq!(refused, VixError::NOT_SUPPORTED);
    // SAFETY: as above.
    assert!(unsafe { prototypes::VixDiskLib_AllocateConnectParams() }.is_null());
}
