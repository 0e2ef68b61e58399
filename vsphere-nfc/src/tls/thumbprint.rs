//! Digests of certificates, as people and servers write them.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The SHA-1 or SHA-256 digest of a certificate in DER form.
///
/// It is parsed from 40 or 64 hexadecimal digits in either case; colons and spaces between them do not matter. It is
/// printed in upper case with colons, as vSphere prints thumbprints.
///
/// ```
/// use vsphere_nfc::Thumbprint;
///
/// let thumbprint: Thumbprint = "da39a3ee5e6b4b0d3255bfef95601890afd80709".parse()?;
/// assert!(thumbprint.to_string().starts_with("DA:39:A3:"));
/// # Ok::<(), vsphere_nfc::InvalidThumbprint>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Thumbprint {
    /// What vSphere calls a thumbprint. Two certificates with the same SHA-1 digest can be made at some cost, but not
    /// one with the digest of a certificate that exists.
    Sha1([u8; 20]),
    /// The digest of newer releases.
    Sha256([u8; 32]),
}

/// The text is no thumbprint: neither 40 nor 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
pub struct InvalidThumbprint;

impl Thumbprint {
    /// The SHA-1 digest of a certificate in DER form.
    #[must_use]
    pub fn sha1_of(certificate: &[u8]) -> Self {
        Self::Sha1(Sha1::digest(certificate).into())
    }

    /// The SHA-256 digest of a certificate in DER form.
    #[must_use]
    pub fn sha256_of(certificate: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(certificate).into())
    }

    /// The digest of the same kind of another certificate.
    pub(crate) fn same_kind_of(&self, certificate: &[u8]) -> Self {
        match self {
            Self::Sha1(_) => Self::sha1_of(certificate),
            Self::Sha256(_) => Self::sha256_of(certificate),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let mut digits = Vec::with_capacity(64);
        for character in text
            .chars()
            .filter(|c| *c != ':' && !c.is_ascii_whitespace())
        {
            let digit = character.to_digit(16).ok_or(InvalidThumbprint)?;
            digits.push(u8::try_from(digit).map_err(|_| InvalidThumbprint)?);
            if digits.len() > 64 {
                return Err(InvalidThumbprint);
            }
        }
        let (pairs, []) = digits.as_chunks::<2>() else {
            return Err(InvalidThumbprint);
        };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        if let Ok(bytes) = bytes.as_slice().try_into() {
            return Ok(Self::Sha1(bytes));
        }
        let bytes = bytes.as_slice().try_into().map_err(|_| InvalidThumbprint)?;
        Ok(Self::Sha256(bytes))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.bytes().iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(formatter, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Sha1(_) => "Sha1",
            Self::Sha256(_) => "Sha256",
        };
        write!(formatter, "{kind}({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY_SHA1: &str = "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";

    #[test]
    fn every_way_to_write_one_is_read() {
        let expected = Thumbprint::sha1_of(b"");
        let bare = EMPTY_SHA1.replace(':', "");
        let spaced = EMPTY_SHA1.replace(':', " ");
        for text in [EMPTY_SHA1, &EMPTY_SHA1.to_lowercase(), &bare, &spaced] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), EMPTY_SHA1);
    }

    #[test]
    fn sha256_has_64_digits() {
        let thumbprint = Thumbprint::sha256_of(b"");
        assert!(thumbprint.to_string().starts_with("E3:B0:C4:42:98:FC"));
        assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "00:".repeat(33);
        for text in [
            "",
            "ab",
            "xyz",
            &EMPTY_SHA1[1..],
            &EMPTY_SHA1[3..],
            &long,
            "é",
        ] {
            assert_eq!(text.parse::<Thumbprint>(), Err(InvalidThumbprint), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_ones_are_read(bytes: [u8; 32]) {
            let thumbprint = Thumbprint::Sha256(bytes);
            prop_assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = text.parse::<Thumbprint>();
        }
    }
}
