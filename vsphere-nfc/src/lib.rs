//! A client of vSphere's network disk protocol (NFC): reads and writes the virtual disks of vCenter and ESXi.
//!
//! ```text
//!   Dial            makes fresh connections             dial.rs
//!    └─ ByteStream      clear or encrypted              stream.rs tls_stream.rs
//!   wire            every message in both directions    wire/{authd,classic,aio}
//!   compress        pieces of data, both ways           compress/{zlib,fastlz,skipz}
//! ```
//!
//! Everything here blocks; there is no asynchronous runtime. What a server sends is checked before it is believed:
//! every length has a limit, and nothing is allocated from a length that was not checked.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod compress;
#[allow(dead_code, reason = "the calls that use it follow")]
mod deadline;
mod dial;
#[allow(dead_code, reason = "the calls that use it follow")]
mod error;
#[allow(dead_code, reason = "the calls that use it follow")]
mod secret;
#[allow(dead_code, reason = "the calls that use it follow")]
mod soap;
#[allow(dead_code, reason = "the calls that use it follow")]
mod stream;
mod timeouts;
#[allow(dead_code, reason = "the calls that use it follow")]
mod tls;
#[allow(dead_code, reason = "the calls that use it follow")]
mod tls_stream;
pub mod wire;

pub use compress::Compression;
pub use dial::{Dial, Dialed};
pub use error::{Error, ErrorKind, Operation, Result};
pub use secret::Secret;
pub use soap::ManagedObject;
pub use stream::ByteStream;
pub use timeouts::Timeouts;
pub use tls::{InvalidThumbprint, Thumbprint, TrustedCertificate};
