//! The ids of new disks.

use crate::descriptor::is_reserved_cid;
use crate::error::Error;
use crate::random::{hex, random};

/// What changes with the content of a disk: 32 bits that children and backups compare, and a longer id around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentId {
    short: u32,
    long: [u8; 12],
}

impl ContentId {
    /// A random one.
    pub(crate) fn new() -> Result<Self, Error> {
        let id = Self {
            short: u32::from_le_bytes(random()?),
            long: random()?,
        };
        // Twice in 2^32 times; the next try ends it.
        if is_reserved_cid(id.short) {
            Self::new()
        } else {
            Ok(id)
        }
    }

    #[cfg(test)]
    pub(crate) fn known(short: u32, long: [u8; 12]) -> Self {
        Self { short, long }
    }

    /// The 32 bits.
    pub(crate) fn short(self) -> u32 {
        self.short
    }

    /// The long id, which ends in the digits of the short one.
    pub(crate) fn long(self) -> String {
        format!("{}{:08x}", hex(&self.long), self.short)
    }
}

/// A random disk id in the range of VMware.
pub(crate) fn new_uuid() -> Result<String, Error> {
    let bytes: [u8; 13] = random()?;
    let digits = hex(&bytes);
    // The first byte gives one digit.
    let digits = format!("6000C29{}", digits.split_at(1).1);
    let pairs: Vec<&str> = (0..16)
        .filter_map(|pair: usize| {
            let start = pair.checked_mul(2)?;
            digits.get(start..start.checked_add(2)?)
        })
        .collect();
    let (first, second) = pairs.split_at(pairs.len() / 2);
    Ok(format!("{}-{}", first.join(" "), second.join(" ")))
}

/// Whether the text is a disk id as descriptors have it: sixteen bytes as pairs of hexadecimal digits, with blanks
/// between them and a hyphen in the middle.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 47
        && text.bytes().enumerate().all(|(index, byte)| match index {
            23 => byte == b'-',
            _ if index % 3 == 2 => byte == b' ',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form() {
        let uuid = new_uuid().expect("random numbers");
        assert!(uuid.starts_with("60 00 C2 9"), "{uuid}");
        assert!(is_uuid(&uuid), "{uuid}");
        assert_ne!(uuid, new_uuid().expect("random numbers"));
        let id = ContentId::new().expect("random numbers");
        assert_eq!(id.long().len(), 32);
        assert!(id.long().ends_with(&format!("{:08x}", id.short())));
        for text in [
            "",
            "60 00 C2 91 00 11 22 33 44 55 66 77 88 99 aa bb",
            "uuid",
        ] {
            assert!(!is_uuid(text), "{text}");
        }
        assert!(is_uuid("60 00 C2 91 00 11 22 33-44 55 66 77 88 99 aa BB"));
    }
}
