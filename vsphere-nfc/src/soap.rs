//! The management plane: SOAP 1.1 over HTTPS, as far as disks need it (vim25 schema).
//!
//! ```text
//!   http       one request and one answer on a connection that is kept    http.rs http/
//!   envelope   calls as XML                                               envelope.rs
//!   reply      answers and faults out of XML                              reply.rs fault.rs
//!   version    which version of the API is spoken                         version.rs
//! ```

mod envelope;
mod fault;
mod http;
mod object;
mod reply;
mod version;

pub use object::ManagedObject;
