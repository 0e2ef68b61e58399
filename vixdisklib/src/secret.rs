//! Passwords, cookies and keys: wiped after use, never printed.

use std::ffi::{CStr, CString};
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::log::redactor;

/// A password, session cookie or key.
///
/// It is wiped from memory when dropped, and so is the string that it was made from. `Debug` prints `Secret(..)`; there
/// is no `Display`, no `Clone`, and no way to read it outside this crate.
///
/// While it lives, it is replaced by `***` in the library's log lines and error texts, also where it is written as in
/// URLs, XML, JSON or C strings. That has limits: secrets of fewer than four bytes would match by chance and are left
/// alone, and base64, hashes, double encoding, and a secret split over two lines are not recognised. Nor can this crate
/// wipe the copies that a proprietary library makes for itself, or what that writes to files of its own.
///
/// ```
/// let secret = vixdisklib::Secret::new("correct horse".to_owned())?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// # Ok::<(), vixdisklib::Error>(())
/// ```
pub struct Secret(Arc<Zeroizing<CString>>);

impl Secret {
    /// Takes the text over; the string given is wiped.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the text contains a NUL, which no C string can carry.
    pub fn new(text: String) -> Result<Self> {
        let text = Zeroizing::new(text);
        // `CString::new` on borrowed bytes keeps no copy when it fails.
        let text = CString::new(text.as_bytes()).map_err(|error| {
            drop(Zeroizing::new(error.into_vec()));
            Error::new(
                ErrorKind::InvalidArgument,
                Operation::Configure,
                "a secret contains a NUL character",
            )
        })?;
        Ok(Self::watched(text))
    }

    /// A copy of a string that the library gave.
    pub(crate) fn copy(text: &CStr) -> Self {
        Self::watched(text.to_owned())
    }

    fn watched(text: CString) -> Self {
        let text = Arc::new(Zeroizing::new(text));
        redactor::watch(&text);
        Self(text)
    }

    pub(crate) fn expose(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("hunter2-hunter2".to_owned()).expect("no NUL");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose(), c"hunter2-hunter2");
    }

    #[test]
    fn a_nul_is_refused_without_the_text() {
        let error = Secret::new("hun\0ter2".to_owned()).expect_err("NUL");
        assert!(!format!("{error:?} {error}").contains("hun"));
    }
}
