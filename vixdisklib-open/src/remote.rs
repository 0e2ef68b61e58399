//! Disks on a vCenter or an ESXi host.
//!
//! ```text
//!   Connection      a login, and what it is for          connection.rs
//!    ├─ parameters      from C's terms to NFC's          parameters.rs target.rs transports.rs
//!    ├─ Login           shared by its disks              login.rs
//!    └─ Disk            one open disk                    disk.rs extents.rs written.rs metadata.rs
//!   access          holding a machine where it is        access.rs
//!   error           from NFC's kinds to VixError         error.rs
//! ```

mod access;
mod connection;
mod disk;
mod error;
mod extents;
mod login;
mod metadata;
mod parameters;
mod target;
mod transports;
mod written;

pub(crate) use access::{end_access, prepare_access};
pub(crate) use connection::{Connection, Request};
pub(crate) use disk::{Disk, PREFERRED_IO};
pub(crate) use parameters::check_cleanup;
