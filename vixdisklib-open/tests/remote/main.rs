//! Disks on a vCenter or an ESXi host, which the simulator plays.

#[path = "../common/mod.rs"]
mod common;

mod connecting;
mod disks;
mod requests;
mod site;
