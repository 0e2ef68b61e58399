//! Disks of a simulated vCenter or ESXi host through the safe API and the embedded engine.
//!
//! What is held against each other is what a program reads and writes, and what the files of the simulator hold. Unlike
//! the other tests of this package these use the crate itself: the simulator is told between two calls what goes wrong.

mod disks;
mod injections;
mod loss;
mod matrix;
mod rounds;
mod site;
