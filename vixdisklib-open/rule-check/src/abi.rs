//! The C functions: each asks its questions, passes the call on to the engine, and notes what came of it.
//!
//! The contract of all of them is the one that the engine's own functions have (a pointer to a string is null or
//! points to one, and so on), which is also what VDDK asks for; the one thing read beyond what the engine reads is the
//! path of a disk and the text of an identity, after the check for null.

pub(crate) mod access;
pub(crate) mod connect;
pub(crate) mod disk;
pub(crate) mod ext;
pub(crate) mod io;
pub(crate) mod lifecycle;
pub(crate) mod metadata;
pub(crate) mod reshape;
pub(crate) mod result;

use vixdisklib_open::TABLE as ENGINE;

/// Calls a function of the engine that the table has as optional; our engine lacks none.
macro_rules! engine {
    ($function:ident($($argument:expr),* $(,)?)) => {
        match crate::abi::ENGINE.$function {
            // SAFETY: the caller's contract, passed on.
            Some(function) => unsafe { function($($argument),*) },
            None => vixdisklib_sys::Refusal::REFUSAL,
        }
    };
}
use engine;
