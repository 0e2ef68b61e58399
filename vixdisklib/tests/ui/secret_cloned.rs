//! A secret cannot be copied.

fn copy(secret: &vixdisklib::Secret) -> vixdisklib::Secret {
    secret.clone()
}

fn main() {}
