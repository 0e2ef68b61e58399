//! A server for NBD, the network block device protocol: any client can use a disk without knowing its format.
//!
//! ```text
//! Server            serve.rs     addresses, threads of connections, TLS, start and stop
//!   session         session.rs   one client: handshake, then requests; over any byte stream
//!     wire          wire.rs      bytes of the protocol, no I/O
//!   ExportTable     table.rs     exports by name
//!     Export        export.rs    what is served: bytes of any alignment
//!       DiskExport  disk.rs      a `SharedDisk` as an export
//!       Layer       layer.rs     an export above another one
//!         Window      window.rs    a part of an export
//!         RateLimit   rate.rs      an export that is held back
//!     ExportSource  source.rs    exports that are found when a client asks for them
//!   Overlay         overlay.rs   a disk to write to while its base stays as it is
//! ```
//!
//! Clients negotiate by the fixed newstyle handshake and may use structured replies or extended headers, with the
//! metadata context `base:allocation` and those that an export has besides. Several clients at once share one export, and
//! what one flushes is flushed for all, so the server offers parallel connections (`CAN_MULTI_CONN`). Connections can be
//! encrypted with the feature `nbd-tls`.
//!
//! A server runs in threads of its own and needs no async runtime. What clients may cost is bounded by [`Limits`], and
//! what they did is told by [`Counters`].
//!
//! Source of the protocol: "The NBD protocol", `doc/proto.md` of the NetworkBlockDevice project, and its branch
//! `extension-ext-header`. What clients make of it was observed with libnbd 1.14 and qemu 10.0.
//!
//! Without the feature `nbd-tls` a client that asks for encryption is refused as the protocol asks. Not done: TLS with keys
//! shared beforehand (PSK), which rustls lacks.

#![forbid(unsafe_code)]

mod counters;
mod disk;
mod export;
mod features;
#[doc(hidden)]
pub mod fuzzing;
mod layer;
mod limits;
mod metrics;
mod overlay;
mod rate;
mod serve;
mod session;
mod source;
mod table;
mod window;
mod wire;

pub use counters::Counters;
pub use disk::DiskExport;
pub use export::{
    BlockState, BlockVisitor, ContextVisitor, ErrorNumber, Export, ExportError, ZeroRequest,
};
pub use features::Features;
pub use layer::Layer;
pub use limits::Limits;
pub use overlay::Overlay;
pub use rate::RateLimit;
pub use serve::{InheritedSocket, Server, ServerError, ServerHandle, inherited_sockets};
#[cfg(feature = "nbd-tls")]
pub use serve::{Tls, TlsClients, TlsError};
pub use source::{ExportSource, Found, Listed};
pub use window::Window;
