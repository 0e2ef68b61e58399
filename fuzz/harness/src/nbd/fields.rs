//! Big-endian numbers, front to back.

/// What is left of some bytes. `None` means that they ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.all.len()
    }

    pub(super) fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let taken = self.all.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number(&mut self, length: u64) -> Option<u64> {
        let add = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(self.take(length)?.iter().fold(0, add))
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        u16::try_from(self.number(2)?).ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.number(4)?).ok()
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }
}
