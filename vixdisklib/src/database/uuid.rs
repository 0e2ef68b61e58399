//! The id of a disk.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Operation};

/// The id of a disk: sixteen bytes, written `60 00 C2 9a 00 11 22 33-44 55 66 77 88 99 aa bb`.
///
/// ```
/// use vixdisklib::DiskUuid;
///
/// let text = "60 00 c2 9a 00 11 22 33-44 55 66 77 88 99 aa bb";
/// let uuid: DiskUuid = text.parse()?;
/// assert_eq!(uuid.to_string(), text);
/// assert_eq!(uuid.as_bytes()[..3], [0x60, 0x00, 0xC2]);
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskUuid([u8; 16]);

impl DiskUuid {
    /// The id that these bytes are, in the order in which they are written.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes in the order in which they are written.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for DiskUuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = match index {
                0 => "",
                8 => "-",
                _ => " ",
            };
            write!(formatter, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DiskUuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DiskUuid({self})")
    }
}

impl FromStr for DiskUuid {
    type Err = Error;

    /// Reads the form above, in either case, and the same without separators or with hyphens elsewhere.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits: Option<Vec<u32>> = text
            .chars()
            .filter(|char| !matches!(char, ' ' | '-'))
            .map(|char| char.to_digit(16))
            .collect();
        let bytes: Option<Vec<u8>> = digits.and_then(|digits| {
            let (pairs, []) = digits.as_chunks::<2>() else {
                return None;
            };
            let byte = |[high, low]: &[u32; 2]| u8::try_from(high * 16 + low).ok();
            pairs.iter().map(byte).collect()
        });
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            let text =
                format!("{text:?} is no disk id: it has sixteen pairs of hexadecimal digits");
            Error::new(ErrorKind::InvalidArgument, Operation::Configure, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_goes_both_ways(bytes: [u8; 16]) {
            let uuid = DiskUuid::from_bytes(bytes);
            let text = uuid.to_string();
            prop_assert_eq!(text.parse::<DiskUuid>().expect("its own text"), uuid);
            prop_assert_eq!(text.to_uppercase().parse::<DiskUuid>().expect("either case"), uuid);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "60 00",
            "zz",
            "60 00 C2 9a 00 11 22 33-44 55 66 77 88 99 aa b",
            "é",
        ] {
            let error = text.parse::<DiskUuid>().expect_err("no id");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
        let long = "00".repeat(17);
        assert!(long.parse::<DiskUuid>().is_err());
    }
}
