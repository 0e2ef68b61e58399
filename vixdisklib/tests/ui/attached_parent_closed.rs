//! A disk that another was attached to is closed by that one.

use vixdisklib::Disk;

fn attach(mut child: Disk, parent: Disk) {
    child.attach(parent).unwrap();
    parent.close().unwrap();
}

fn main() {}
