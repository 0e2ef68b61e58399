//! The protocol of an open disk: a header of 16 bytes, a payload, and for some messages bytes that follow.
//!
//! A client numbers its operations; a reply repeats the number and the kind. Replies come in any order.

mod blocks;
mod ddb;
mod error;
mod header;
mod io;
mod message;
mod open;
mod session;

pub use blocks::{Bitmap, MAX_BITMAP, QueryBlocks};
pub use ddb::{DdbGet, DdbValue, MAX_KEY, MAX_VALUE};
pub use error::{ErrorReply, MAX_TEXT};
pub use header::{HEADER, Header, Kind, MAGIC, MAX_PAYLOAD};
pub use io::{Direction, Io, MAX_EXTRA};
pub use message::{Reply, Request};
pub use open::{CloseFile, FILE_TYPE_DISK, FileOpened, Geometry, MAX_PATH, OpenFile, OpenFlags};
pub use session::{CloseSession, OpenSession, SocketOptions};
