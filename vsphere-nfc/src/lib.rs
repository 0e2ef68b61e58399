//! A client of vSphere's network disk protocol (NFC): reads and writes the virtual disks of vCenter and ESXi.
//!
//! ```text
//!   Host              a login: tickets, snapshots, look-ups      host.rs host/
//!    └─ soap              the management plane                   soap.rs soap/
//!   RemoteDisk        sectors of one disk                        disk.rs disk/
//!    ├─ Session           many requests on one connection        session.rs session/ handshake.rs budget.rs
//!    │   └─ ByteStream        clear or encrypted                 stream.rs tls_stream.rs
//!    └─ Dial              makes fresh connections                dial.rs
//!        └─ DiskDialer        a ticket, presented to its host    host/dialing.rs ticket.rs authd.rs tls.rs
//!   wire              every message in both directions           wire/{authd,classic,aio}
//!   compress          pieces of data, both ways                  compress/{zlib,fastlz,skipz}
//! ```
//!
//! Everything here blocks; there is no asynchronous runtime. What a server sends is checked before it is believed:
//! every length has a limit, and nothing is allocated from a length that was not checked.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod authd;
mod budget;
pub mod compress;
mod deadline;
mod dial;
mod disk;
mod error;
mod failure;
mod handshake;
mod host;
mod secret;
mod session;
mod soap;
mod stream;
mod ticket;
mod timeouts;
mod tls;
mod tls_stream;
mod transport;
pub mod wire;

pub use budget::Budget;
pub use compress::Compression;
pub use dial::{Dial, Dialed};
pub use disk::{OpenOptions, RemoteDisk};
pub use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
pub use error::{Error, ErrorKind, Operation, Result};
pub use host::{ConnectOptions, DiskDialer, DiskPlace, Host};
pub use secret::Secret;
#[doc(hidden)]
pub use soap::fuzzing;
pub use soap::{
    ApiType, ChangedAreas, Credentials, Fcd, FcdSpec, ManagedObject, SnapshotOptions, VmDisk,
    VmSpec,
};
pub use stream::ByteStream;
pub use ticket::{Access, Ticket};
pub use timeouts::Timeouts;
pub use tls::{InvalidThumbprint, Thumbprint, TrustedCertificate};
pub use transport::Transport;
