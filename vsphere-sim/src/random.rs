//! Ids and secrets that nobody can guess.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What is kept of a secret that others show later.
pub(crate) type Trace = [u8; 32];

pub(crate) fn trace(secret: &str) -> Trace {
    Sha256::digest(secret).into()
}

/// Random bytes.
///
/// # Panics
/// When the system has no random numbers, which it always has after its start.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// A position below `count`, which is positive.
pub(crate) fn below(count: usize) -> usize {
    usize::from_le_bytes(bytes()) % count
}

/// Forty hex digits, for cookies and keys.
pub(crate) fn secret() -> String {
    hex(&bytes::<20>())
}

/// A UUID of version 4.
pub(crate) fn uuid() -> String {
    let mut bytes = bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_shape_and_differ() {
        let (one, two) = (uuid(), uuid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
