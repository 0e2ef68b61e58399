//! A cursor has its disk to itself, or to its thread.

use std::io::Read;
use vixdisklib::{Disk, DiskCursor};

fn read(disk: &Disk) {
    std::thread::scope(|scope| {
        scope.spawn(|| DiskCursor::new(disk).read(&mut [0; 512]));
    });
}

fn main() {}
