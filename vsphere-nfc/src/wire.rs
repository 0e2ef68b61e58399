//! Every message of the data connection, in both directions: pure functions from and to bytes, without any I/O.
//!
//! ```text
//!   authd      lines of text, before the disk protocol        authd.rs
//!   classic    frames of 264 bytes: the handshake             classic.rs
//!   aio        a header, a payload, and bytes that follow     aio.rs aio/
//! ```
//!
//! Clients and servers share this module. All integers are little-endian. "Extra" means bytes that follow a message and
//! are not counted in its size. The layouts were observed by public clients against ESXi 7 and 8.

pub mod aio;
pub mod authd;
pub mod classic;
mod error;
mod fields;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;

pub use error::WireError;
