//! What the fuzz targets do with an input, and what must hold then.
//!
//! ```text
//!   Target          which bytes of an input mean what      target.rs
//!    ├─ Files       the files of one disk, in memory       files.rs
//!    ├─ examine     what holds of every disk that opens    examine.rs
//!    ├─ change      what holds of writing to one           change.rs
//!    ├─ mend        what holds of checking and repairing   mend.rs
//!    └─ mutate      changes that keep a format's shape     mutate.rs
//!   seeds           small disks to begin with              seeds.rs image.rs
//!   nbd             a client of the NBD server             nbd.rs
//!   nfc             messages and data of remote disks      nfc.rs
//!   nfc_soap        answers of a vCenter or an ESXi host   nfc_soap.rs
//!   sim             a client of the simulator              sim.rs
//!   sim_text        what the simulator is told             sim_text.rs
//! ```
//!
//! The fuzz targets and the ordinary test that replays their seeds call the same function, [`Target::run`]. A claim
//! that does not hold panics.

#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    reason = "to panic is how a finding is reported"
)]

mod change;
mod examine;
mod files;
mod image;
mod mend;
mod mutate;
pub mod nbd;
pub mod nfc;
pub mod nfc_soap;
mod numbers;
mod seeds;
pub mod sim;
pub mod sim_text;
mod target;

pub use files::Files;
pub use mutate::mutate;
pub use seeds::seeds;
pub use target::Target;
