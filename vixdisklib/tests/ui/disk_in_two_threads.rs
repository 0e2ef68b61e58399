//! A handle takes one call at a time, so a disk is used by one thread at a time.

fn read(disk: &vixdisklib::Disk) {
    std::thread::scope(|scope| {
        scope.spawn(|| disk.settle());
    });
}

fn main() {}
