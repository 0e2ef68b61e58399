//! A buffer belongs to the request until the request gives it back.

use vixdisklib::{AlignedBuf, Disk, Sector, SectorCount};

fn read(disk: &Disk) {
    let buffer = AlignedBuf::new(SectorCount::new(1));
    let request = disk.read_async(Sector::new(0), buffer);
    println!("{}", buffer[0]);
    let _ = request.wait();
}

fn main() {}
