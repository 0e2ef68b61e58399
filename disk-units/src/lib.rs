//! Quantities of disk space as types, so that a sector can never pass for a byte.
//!
//! * [`Sector`]: a position, counted in sectors of 512 bytes from the start of a disk.
//! * [`SectorCount`]: a length in sectors.
//! * [`ByteLen`]: a length or position in bytes.
//! * [`SectorRange`]: a start and a length that together fit into 64 bits, so that its end always exists.
//!
//! Arithmetic is checked: it returns an `Option`, or it cannot overflow. Sectors and bytes meet only in the
//! conversions that say so: [`SectorCount::bytes`], [`Sector::byte_offset`], [`ByteLen::whole_sectors`] and
//! [`ByteLen::sectors_rounded_up`].
//!
//! ```
//! use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
//!
//! let range = SectorRange::new(Sector::new(2048), SectorCount::new(8)).expect("fits");
//! assert_eq!(range.end(), Sector::new(2056));
//! assert_eq!(range.count().bytes(), Some(ByteLen::new(4096)));
//! assert_eq!(range.to_string(), "2048..2056");
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod range;

pub use range::{Pieces, SectorRange};

use core::fmt;

/// Bytes in one sector. VixDiskLib and the VMDK format count in this unit whatever the medium below.
pub const SECTOR_SIZE: usize = 512;

const SECTOR_BYTES: u64 = 512;

macro_rules! quantity {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// Makes the quantity from its number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number, in this type's own unit.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Whether the number is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

quantity! {
    /// A position on a disk: the number of 512-byte sectors before it.
    Sector
}

quantity! {
    /// A length in sectors of 512 bytes.
    SectorCount
}

quantity! {
    /// A length, or a position, in bytes.
    ByteLen
}

impl Sector {
    /// The position `count` sectors further on, or `None` past 2^64 − 1.
    #[must_use]
    pub const fn checked_add(self, count: SectorCount) -> Option<Self> {
        match self.0.checked_add(count.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// How many sectors lie between `start` and this position, or `None` if `start` is behind it.
    #[must_use]
    pub const fn checked_since(self, start: Self) -> Option<SectorCount> {
        match self.0.checked_sub(start.0) {
            Some(difference) => Some(SectorCount(difference)),
            None => None,
        }
    }

    /// The position in bytes, or `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn byte_offset(self) -> Option<ByteLen> {
        match self.0.checked_mul(SECTOR_BYTES) {
            Some(bytes) => Some(ByteLen(bytes)),
            None => None,
        }
    }
}

impl SectorCount {
    /// The sum, or `None` past 2^64 − 1.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The length in bytes, or `None` past 2^64 − 1 bytes.
    #[must_use]
    pub const fn bytes(self) -> Option<ByteLen> {
        match self.0.checked_mul(SECTOR_BYTES) {
            Some(bytes) => Some(ByteLen(bytes)),
            None => None,
        }
    }
}

impl ByteLen {
    /// The sum, or `None` past 2^64 − 1.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The length in sectors, or `None` if it is not a multiple of 512 bytes.
    #[must_use]
    pub const fn whole_sectors(self) -> Option<SectorCount> {
        if self.0.is_multiple_of(SECTOR_BYTES) {
            Some(SectorCount(self.0 / SECTOR_BYTES))
        } else {
            None
        }
    }

    /// The smallest number of sectors that holds this many bytes.
    #[must_use]
    pub const fn sectors_rounded_up(self) -> SectorCount {
        SectorCount(self.0.div_ceil(SECTOR_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_checked() {
        let last = Sector::new(u64::MAX);
        assert_eq!(last.checked_add(SectorCount::new(1)), None);
        assert_eq!(last.byte_offset(), None);
        assert_eq!(Sector::ZERO.checked_since(Sector::new(1)), None);
        assert_eq!(
            last.checked_since(Sector::ZERO),
            Some(SectorCount::new(u64::MAX))
        );
        assert_eq!(SectorCount::new(1).checked_sub(SectorCount::new(2)), None);
        assert_eq!(SectorCount::new(u64::MAX).bytes(), None);
        assert_eq!(ByteLen::new(u64::MAX).checked_add(ByteLen::new(1)), None);
    }

    #[test]
    fn bytes_and_sectors_convert_exactly_or_not_at_all() {
        assert_eq!(
            ByteLen::new(1024).whole_sectors(),
            Some(SectorCount::new(2))
        );
        assert_eq!(ByteLen::new(1025).whole_sectors(), None);
        assert_eq!(ByteLen::new(1025).sectors_rounded_up(), SectorCount::new(3));
        assert_eq!(
            ByteLen::new(u64::MAX).sectors_rounded_up(),
            SectorCount::new(1 << 55)
        );
        assert_eq!(SectorCount::new(3).bytes(), Some(ByteLen::new(1536)));
    }
}
