//! Extents are asked for as the iterator goes, so the disk has to stay open.

use vixdisklib::{Disk, SectorRange};

fn map(disk: Disk) {
    let extents = disk.extents(SectorRange::whole(disk.capacity())).unwrap();
    disk.close().unwrap();
    for extent in extents {
        println!("{extent:?}");
    }
}

fn main() {}
