//! A copy writes on a thread of its own, so its target must be able to go there.

use std::io;
use std::rc::Rc;

use vixdisklib::{CopyTarget, Sector, SectorCount, SectorRange};

struct Counting(Rc<u64>);

impl CopyTarget for Counting {
    fn begin(&mut self, _: SectorCount) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&mut self, _: Sector, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&mut self, _: SectorRange) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: SectorCount) -> io::Result<()> {
        Ok(())
    }
}

fn main() {}
