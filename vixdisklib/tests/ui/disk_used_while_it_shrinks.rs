//! A handle takes one call at a time, so the progress of a call cannot use the disk that it is about.

fn shrink(mut disk: vixdisklib::Disk) {
    disk.shrink(|_| disk.flush().unwrap()).unwrap();
}

fn main() {}
