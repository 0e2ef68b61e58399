//! Passwords, cookies and tickets: wiped after use, never printed.

use std::fmt;

use zeroize::Zeroizing;

/// A password, session cookie or ticket.
///
/// It is wiped from memory when dropped. `Debug` prints `Secret(..)`; there is no `Display`, no `Clone`, and no way to
/// read it outside this crate.
///
/// ```
/// let secret = vsphere_nfc::Secret::new("correct horse".to_owned());
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// ```
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over, without a copy of it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Bytes that are wiped when dropped, and wherever they lay before they grew.
///
/// A `Zeroizing<Vec<u8>>` alone would leave its bytes behind each time that it moves to a larger place.
#[derive(Default)]
pub(crate) struct WipedBytes(Zeroizing<Vec<u8>>);

impl WipedBytes {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let length = self.0.len().saturating_add(bytes.len());
        if length > self.0.capacity() {
            let larger = length.max(self.0.capacity().saturating_mul(2));
            let mut moved = Zeroizing::new(Vec::with_capacity(larger));
            moved.extend_from_slice(&self.0);
            self.0 = moved;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.extend(text.as_bytes());
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for WipedBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WipedBytes({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("hunter2-hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose(), "hunter2-hunter2");
        let mut bytes = WipedBytes::default();
        bytes.push("hunter2");
        assert_eq!(format!("{bytes:?}"), "WipedBytes(7 bytes)");
    }

    #[test]
    fn bytes_grow_whole() {
        let mut bytes = WipedBytes::with_capacity(3);
        for piece in ["a", "bcd", "", "efghijklmnop"] {
            bytes.push(piece);
        }
        assert_eq!(bytes.as_slice(), b"abcdefghijklmnop");
    }
}
