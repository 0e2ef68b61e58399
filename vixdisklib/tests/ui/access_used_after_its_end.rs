//! Through an access that has ended nobody connects.

use vixdisklib::{ConnectOptions, PreparedAccess};

fn connect_late(access: PreparedAccess) {
    let _ = access.end();
    let _ = access.connect(&ConnectOptions::new());
}

fn main() {}
