//! The management plane: SOAP 1.1 over HTTPS, as far as disks need it (vim25 schema).
//!
//! ```text
//!   vm, nfc, snapshot, access, fcd    calls by what they are about           vm.rs nfc.rs ...
//!    └─ property, task                how most of them get their answers     property.rs task.rs
//!        └─ session                   a login, renewed when it has expired   session.rs
//!            └─ client                connections and the cookie             client.rs version.rs
//!                ├─ http              one request, one answer                http.rs http/
//!                ├─ envelope          calls as XML                           envelope.rs object.rs
//!                └─ reply             answers and faults out of XML          reply.rs fault.rs
//! ```

mod access;
mod client;
mod envelope;
mod fault;
mod fcd;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod nfc;
mod object;
mod property;
mod reply;
mod session;
mod snapshot;
mod task;
mod version;
mod vm;

pub(crate) use client::{CallError, CallLimits, Client};
pub use fcd::{Fcd, FcdSpec};
pub use object::ManagedObject;
pub(crate) use session::Session;
pub use session::{ApiType, Credentials};
pub use snapshot::{ChangedAreas, SnapshotOptions};
pub use vm::{VmDisk, VmSpec};
