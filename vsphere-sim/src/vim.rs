//! Data of the vim25 schema: values and faults.

mod fault;
mod value;

pub(crate) use fault::Fault;
pub(crate) use value::{Moref, Value, optional, write, write_any};
