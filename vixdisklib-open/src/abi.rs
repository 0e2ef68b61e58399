//! The C functions: null checks, conversions, and a catch for panics. What they ask for happens elsewhere, in safe
//! code.
//!
//! Each function is `unsafe`, because it follows pointers that its caller vouches for. The contract is the same for
//! all of them and stands here once, as the Virtual Disk Programming Guide implies it:
//!
//! * a pointer to a string is null, or points to a NUL-terminated string that lives for the call;
//! * a pointer to a result is null, or points to memory that the library may write a value of that type to;
//! * a buffer is null, or holds as many bytes as the stated sectors or length; of an asynchronous request it stays
//!   valid, and is used by nobody else, until the callback;
//! * connection parameters are null, or point to at least the fields that VDDK 6.0 knew (up to `vimApiVer`); a member
//!   of the credentials union is valid if `credType` says so, and strings in there are like any other string;
//! * creation parameters are null, or point to the fields that VDDK 6.7 knew (up to `capacity`), and to those of 7.0 if
//!   that or a later version was asked for in `InitEx`;
//! * a progress function is null, or may be called with its data on the thread of the call until that returns, and does
//!   not unwind;
//! * a callback may be called from any thread until `Exit` returns and does not unwind;
//! * the result of a call is no longer used after the Free function got it.
//!
//! Handles need no promise: they are looked up, never followed. Null where something is needed is answered with
//! `VIX_E_INVALID_ARG`.

pub(crate) mod access;
pub(crate) mod attach;
mod boundary;
mod callback;
pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod disk;
pub(crate) mod ext;
pub(crate) mod extents;
pub(crate) mod io;
pub(crate) mod lifecycle;
pub(crate) mod metadata;
#[cfg(test)]
mod panic_test;
pub(crate) mod params;
mod pointer;
pub(crate) mod reshape;
