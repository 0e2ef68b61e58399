//! The bytes of the NBD protocol: pure encoding and decoding, no I/O and no state.
//!
//! Source of every number here: "The NBD protocol", `doc/proto.md` of the NetworkBlockDevice project, and its branch
//! `extension-ext-header` for extended headers. All integers are big-endian; strings are UTF-8 without terminator.

mod bytes;
pub(crate) mod handshake;
pub(crate) mod reply;
pub(crate) mod request;

/// The longest string, in bytes, that either side may send.
pub(crate) const MAX_STRING: usize = 4096;
