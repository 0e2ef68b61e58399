//! What there is to see of each object, with the fields of the vim25 schema in their order.

pub(super) mod service;
pub(super) mod session_manager;
