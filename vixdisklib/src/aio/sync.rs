//! The lock of [`completion`](super::completion), which its model check replaces.

pub(crate) use parking_lot::Mutex;
