//! A secret cannot be printed.

fn print(secret: &vixdisklib::Secret) {
    println!("{secret}");
}

fn main() {}
