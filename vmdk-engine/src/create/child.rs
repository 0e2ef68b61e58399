//! Making children.
