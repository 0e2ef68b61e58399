//! Little-endian fields, one after another.

use super::WireError;

/// Takes a message apart, from its first byte to its last.
pub(super) struct Fields<'a> {
    message: &'static str,
    whole: &'a [u8],
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            message,
            whole: bytes,
            left: bytes,
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (field, left) = self.left.split_first_chunk().ok_or(self.wrong_length())?;
        self.left = left;
        Ok(*field)
    }

    /// Passes over bytes without a meaning.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), WireError> {
        self.left = self.left.get(count..).ok_or(self.wrong_length())?;
        Ok(())
    }

    /// Refuses bytes after the last field.
    pub(super) fn end(self) -> Result<(), WireError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(self.wrong_length())
        }
    }

    fn wrong_length(&self) -> WireError {
        WireError::Length {
            message: self.message,
            actual: self.whole.len(),
        }
    }
}

/// Puts a message together.
#[derive(Default)]
pub(super) struct Builder(Vec<u8>);

impl Builder {
    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn zeroes(mut self, count: usize) -> Self {
        self.0.resize(self.0.len().saturating_add(count), 0);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
