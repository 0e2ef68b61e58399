//! `VixError`: the result of a C call.

use std::fmt;

use crate::bindings::codes::CODES;

/// The result of a C call: zero for success, otherwise an error, or [`VixError::ASYNC`].
///
/// The low 16 bits are the code. The others may carry detail whose layout is not published, so compare
/// [`without_detail`](Self::without_detail) with a constant, and hand the value itself to `VixDiskLib_GetErrorText`.
/// The set of codes is open: a code without a name is as good as any other.
///
/// Source: open-vm-tools `vix.h`, the openly licensed home of this block of numbers.
///
/// ```
/// use vixdisklib_sys::VixError;
///
/// let error = VixError(0x1_0000_0000 | 4);
/// assert_eq!(error.code(), 4);
/// assert_eq!(error.without_detail(), VixError::FILE_NOT_FOUND);
/// assert_eq!(error.name(), Some("VIX_E_FILE_NOT_FOUND"));
/// assert_eq!(error.meaning(), Some("file not found"));
/// assert!(VixError(0).is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct VixError(pub u64);

impl VixError {
    const CODE_BITS: u64 = 0xFFFF;

    /// Whether the call succeeded. An accepted asynchronous request, [`VixError::ASYNC`], is not `is_ok`.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// The code, without detail: what C calls `VIX_ERROR_CODE`.
    #[must_use]
    pub const fn code(self) -> u16 {
        let [low, next, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, next])
    }

    /// The same code with no detail, to compare with the constants.
    #[must_use]
    pub const fn without_detail(self) -> Self {
        Self(self.0 & Self::CODE_BITS)
    }

    /// The name of the code in C, such as `VIX_E_FAIL`; `None` for a code that the header does not know.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(_, name, _)| *name)
    }

    /// A short English meaning of the code, in our words; `None` for a code that the header does not know.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        self.entry().map(|(_, _, meaning)| *meaning)
    }

    /// Every code that has a name, in ascending order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        CODES.iter().map(|(code, _, _)| Self(u64::from(*code)))
    }

    fn entry(self) -> Option<&'static (u16, &'static str, &'static str)> {
        let index = CODES
            .binary_search_by_key(&self.code(), |(code, _, _)| *code)
            .ok()?;
        CODES.get(index)
    }
}

/// `file not found (VIX_E_FILE_NOT_FOUND, 0x4)`, or the number alone where the code has no name.
impl fmt::Display for VixError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some((_, name, meaning)) => write!(formatter, "{meaning} ({name}, {:#x})", self.0),
            None => write!(formatter, "unknown error ({:#x})", self.0),
        }
    }
}

impl fmt::Debug for VixError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "VixError({:#x} {name})", self.0),
            None => write!(formatter, "VixError({:#x})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_finds_itself_with_and_without_detail() {
        let mut count = 0;
        for error in VixError::all() {
            let detailed = VixError(error.0 | 0xABCD_0000_0000_0000 | 0x1_0000);
            assert_eq!(detailed.code(), error.code());
            assert_eq!(detailed.without_detail(), error);
            assert_eq!(detailed.name(), error.name());
            assert!(error.name().expect("named").starts_with("VIX_"));
            assert!(!error.meaning().expect("explained").is_empty());
            count += 1;
        }
        assert_eq!(count, VixError::all().len());
        assert!(
            VixError::all()
                .map(VixError::code)
                .is_sorted_by(|a, b| a < b)
        );
    }

    #[test]
    fn an_unknown_code_survives() {
        let error = VixError(0x7_0000_FFFE);
        assert_eq!((error.name(), error.meaning()), (None, None));
        assert_eq!(error.to_string(), "unknown error (0x70000fffe)");
        assert_eq!(format!("{error:?}"), "VixError(0x70000fffe)");
    }

    #[test]
    fn success_is_the_whole_value_zero() {
        assert!(VixError::OK.is_ok());
        assert!(!VixError(0x1_0000).is_ok());
        assert!(!VixError::ASYNC.is_ok());
        assert_eq!(VixError::ASYNC.code(), 25000);
        assert_eq!(
            VixError::DISK_OUTOFRANGE.to_string(),
            "sector outside disk (VIX_E_DISK_OUTOFRANGE, 0x3e87)"
        );
    }
}
