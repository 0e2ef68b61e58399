//! A vCenter and ESXi simulator for tests: SOAP and NFC over local virtual disks, with error injection.
//!
//! ```text
//!   program        one command that starts it all                       program/
//!    └─ Simulator      starts, changes and stops a server                simulator.rs
//!        ├─ soap           the management port: calls and faults         soap.rs soap/
//!        ├─ nfc            the data port: tickets, disks, reads, writes  nfc.rs nfc/
//!        └─ Site           what both ports share                         site.rs
//!            ├─ World          machines, snapshots, logins, tickets      world.rs world/
//!            │   └─ Inventory      what there is at the start            inventory.rs inventory/
//!            ├─ Injection      what goes wrong, and when                 injection.rs
//!            ├─ Limits         how much a server takes                   limits.rs
//!            └─ Transcript     what clients did                          transcript.rs
//!   Profile        which server it is                                    profile.rs
//!   vim            data of the vim25 schema                              vim.rs vim/
//!   tls            certificates, made at the start                       tls.rs
//! ```
//!
//! It serves on 127.0.0.1, with certificates of its own. It is for tests: it knows a few dozen calls, and none of its
//! limits protects anybody from somebody who knows a password.
//!
//! ```
//! use vsphere_sim::{Inventory, Profile, Simulator};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let folder = scratch.path();
//! let inventory = Inventory::demo(folder, Profile::Esxi8Vcenter)?;
//! let password = inventory.users[0].password.clone();
//! let simulator = Simulator::builder(inventory).start()?;
//! println!("SOAP at {}, thumbprint {}", simulator.address(), simulator.thumbprint_sha256());
//! # drop(password);
//! assert!(simulator.transcript().is_empty(), "nobody connected yet");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod budget;
#[doc(hidden)]
pub mod fuzzing;
mod injection;
mod inventory;
mod limits;
mod listener;
mod nfc;
mod profile;
mod random;
mod simulator;
mod site;
mod soap;
mod time;
mod tls;
mod transcript;
mod vim;
mod world;

pub use injection::{
    Capability, FragmentFault, HeaderField, Injection, InvalidInjection, IoKind, OpenRefusal, Plan,
};
pub use inventory::{
    Datacenter, Datastore, DatastorePath, Fcd, FcdSnapshot, Host, InvalidDatastorePath, Inventory,
    InventoryError, Password, Power, Snapshot, User, Vm, VmDisk,
};
pub use limits::Limits;
pub use profile::{Profile, UnknownProfile};
pub use simulator::{Builder, Simulator, SimulatorError};
pub use transcript::{Entry, Event, Transcript};
