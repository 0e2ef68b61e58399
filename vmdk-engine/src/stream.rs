//! Stream-optimised disks as streams: written from the first byte to the last, and read the same way.
//!
//! ```text
//!   StreamWriter    grains in, bytes out                    stream/writer.rs
//!   StreamReader    bytes in, grains out                    stream/reader.rs head.rs seen.rs source.rs
//!    ├─ records         one compressed grain                stream/record.rs
//!    └─ frame           header, tables, footer              stream/frame.rs
//! ```
//!
//! Grains are compressed and inflated on all cores. Random access to a stream in a file is the affair of
//! [`extent::stream`](crate::extent).
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note); the order of the parts, the markers and the footer
//! observed in a file that vCenter exported, and that the bytes are zlib streams (RFC 1950) in files of ESX, VirtualBox
//! and qemu-img 10.

mod frame;
mod head;
mod reader;
pub(crate) mod record;
mod seen;
mod source;
mod writer;

pub use reader::{StreamGrain, StreamReader};
pub(crate) use writer::StreamError;
pub use writer::StreamWriter;
