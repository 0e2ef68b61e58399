//! A disk that another was attached to is not used for I/O again.

use vixdisklib::{Disk, Sector};

fn attach(mut child: Disk, parent: Disk) {
    // Not even if that fails.
    if child.attach(parent).is_err() {
        parent.read_at(Sector::ZERO, &mut [0; 512]).unwrap();
    }
}

fn main() {}
