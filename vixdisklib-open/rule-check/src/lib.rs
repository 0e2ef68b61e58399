//! A VixDiskLib that checks how it is called.
//!
//! It has the symbols of `libvixDiskLib.so` and does its work with `vixdisklib-open`. On the way it records every call
//! and holds it against the rules of VDDK, most of which VDDK does not check: it crashes, hangs, or works until it is
//! in the field. `RULES.md` lists the rules, `README.md` says how to use the library from any language.
//!
//! ```text
//! abi/        one C function each: what to check, what to pass on, what to remember     unsafe
//! callback    the caller's functions, wrapped so that we know who runs in one           unsafe
//! table       the functions as a table, which `export_symbols!` gives their C names
//! ----------------------------------------------------------------------------------------
//! gate        the way through: check, act, pass on, settle; no lock is held meanwhile
//! check       the questions that the functions ask about a call
//! state       what is known: connections, disks, requests, results on loan, calls
//! rule        the rules, by name
//! verdict     what happens on a violation: abort, fail the call, or collect
//! ```
//!
//! Nothing here trusts what a caller hands over: handles are looked up, and a pointer is read only where VDDK would
//! read it too.

mod abi;
mod call;
mod callback;
mod check;
mod gate;
mod loan;
mod params;
mod report;
mod rule;
mod settings;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod verdict;
mod violation;

vixdisklib_sys::export_symbols!(crate::table::TABLE);
