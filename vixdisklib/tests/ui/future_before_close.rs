//! A closed disk starts nothing: its requests are over, or its own.

use vixdisklib::{AlignedBuf, Disk, Sector, SectorCount};

fn close_then_read(disk: Disk) {
    let _ = disk.close();
    let request = disk.read_async(Sector::new(0), AlignedBuf::new(SectorCount::new(1)));
    let _ = request.wait();
}

fn main() {}
