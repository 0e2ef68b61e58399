//! What a parallel reader delivers is lent: the buffer is read into again.

use vixdisklib::{Error, ParallelReader, SectorRange};

fn keep(reader: &mut ParallelReader, range: SectorRange) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let _ = reader.read([range], |_, bytes| {
        kept.push(bytes);
        Ok::<_, Error>(())
    });
}

fn main() {}
