//! Small arithmetic on sectors, buffers and grains that cannot overflow.

use std::mem;
use std::num::NonZeroU64;
use std::ops::Range;

use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};

/// Where a sector begins in its file. Positions past 2^64 bytes saturate, and no file reaches there.
pub(crate) fn byte_position(sector: Sector) -> ByteLen {
    sector.byte_offset().unwrap_or(ByteLen::new(u64::MAX))
}

/// The bytes that a run of sectors takes up in its file.
pub(crate) fn byte_range(range: SectorRange) -> Range<ByteLen> {
    byte_position(range.start())..byte_position(range.end())
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == ZEROS.split_at(chunk.len()).0)
}

/// The bytes of `count` sectors as a buffer length, saturating; buffers are never that long.
pub(crate) fn buffer_len(count: SectorCount) -> usize {
    usize::try_from(count.get())
        .unwrap_or(usize::MAX)
        .saturating_mul(SECTOR_SIZE)
}

/// The sectors that a buffer holds; its length is a multiple of [`SECTOR_SIZE`].
pub(crate) fn sectors_of(buf: &[u8]) -> SectorCount {
    SectorCount::new(u64::try_from(buf.len() / SECTOR_SIZE).unwrap_or(u64::MAX))
}

/// The sectors `start..` that a buffer stands for, clamped at the highest position there is.
pub(crate) fn range_of(start: Sector, buf: &[u8]) -> SectorRange {
    clamped(start, sectors_of(buf))
}

/// The run of `count` sectors from `start`, cut at the highest position there is.
pub(crate) fn clamped(start: Sector, count: SectorCount) -> SectorRange {
    let end = Sector::new(start.get().saturating_add(count.get()));
    SectorRange::between(start, end).unwrap_or_default()
}

/// `sector` moved back by `base`; callers know that it lies behind.
pub(crate) fn relative(range: SectorRange, base: Sector) -> SectorRange {
    let start = range.start().checked_since(base).unwrap_or_default();
    clamped(Sector::new(start.get()), range.count())
}

/// `range` moved on by `base`, clamped at the highest position there is.
pub(crate) fn shifted(range: SectorRange, base: Sector) -> SectorRange {
    let start = range.start().get().saturating_add(base.get());
    clamped(Sector::new(start), range.count())
}

/// The part of a buffer that begins at sector `start` which stands for `range`; empty unless `range` lies in it.
pub(crate) fn part_of(buf: &mut [u8], start: Sector, range: SectorRange) -> &mut [u8] {
    let range = relative(range, start);
    let first = buffer_len(SectorCount::new(range.start().get()));
    let end = buffer_len(SectorCount::new(range.end().get()));
    buf.get_mut(first..end).unwrap_or_default()
}

/// Takes the first `count` sectors off a buffer that is being filled.
pub(crate) fn take_front_mut<'a>(buf: &mut &'a mut [u8], count: SectorCount) -> &'a mut [u8] {
    let bytes = buffer_len(count).min(buf.len());
    let (front, rest) = mem::take(buf).split_at_mut(bytes);
    *buf = rest;
    front
}

/// Takes the first `count` sectors off a buffer that is being written.
pub(crate) fn take_front<'a>(buf: &mut &'a [u8], count: SectorCount) -> &'a [u8] {
    let bytes = buffer_len(count).min(buf.len());
    let (front, rest) = buf.split_at(bytes);
    *buf = rest;
    front
}

/// The size of a grain in sectors: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrainSize(NonZeroU64);

impl GrainSize {
    /// `None` unless `sectors` is a power of two.
    pub(crate) fn new(sectors: u64) -> Option<Self> {
        NonZeroU64::new(sectors)
            .filter(|size| size.is_power_of_two())
            .map(Self)
    }

    pub(crate) fn sectors(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn count(self) -> SectorCount {
        SectorCount::new(self.0.get())
    }

    pub(crate) fn bytes(self) -> usize {
        buffer_len(self.count())
    }

    /// The number of the grain that holds `sector`.
    pub(crate) fn grain_of(self, sector: Sector) -> u64 {
        sector.get() / self.0
    }

    /// How far into its grain `sector` lies.
    pub(crate) fn offset_in(self, sector: Sector) -> u64 {
        sector.get() % self.0
    }

    /// The first sector of a grain.
    pub(crate) fn start_of(self, grain: u64) -> Sector {
        Sector::new(grain.saturating_mul(self.0.get()))
    }

    /// How many grains `count` sectors take up.
    pub(crate) fn grains_in(self, count: SectorCount) -> u64 {
        count.get().div_ceil(self.0.get())
    }

    /// `sectors` rounded up to a whole number of grains, saturating.
    pub(crate) fn round_up(self, sectors: u64) -> u64 {
        sectors
            .checked_next_multiple_of(self.0.get())
            .unwrap_or(u64::MAX)
    }

    /// Whether a header may say `header` sectors where the descriptor's line says `line`.
    ///
    /// The line's size counts. The header may have more up to the next grain, or to the next 64 KiB as VirtualBox
    /// writes it; less would leave sectors without a place, and much more means that one of the two is wrong.
    pub(crate) fn agree(self, line: SectorCount, header: SectorCount) -> bool {
        let rounded = line.get().checked_next_multiple_of(128).unwrap_or(u64::MAX);
        let most = rounded.max(self.round_up(line.get()));
        (line.get()..=most).contains(&header.get())
    }

    /// The grains that lie wholly in `range`, as grain numbers; `end` is where the last grain is cut off.
    pub(crate) fn whole_grains(self, range: SectorRange, end: SectorCount) -> std::ops::Range<u64> {
        let first = self.grains_in(SectorCount::new(range.start().get()));
        let last = if range.end().get() >= end.get() {
            self.grains_in(end)
        } else {
            self.grain_of(range.end())
        };
        first..last.max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn whole_grains_count_the_cut_last_one() {
        let grain = GrainSize::new(128).expect("power of two");
        let end = SectorCount::new(300);
        assert_eq!(grain.whole_grains(range(0, 300), end), 0..3);
        assert_eq!(grain.whole_grains(range(1, 300), end), 1..3);
        assert_eq!(grain.whole_grains(range(0, 299), end), 0..2);
        assert_eq!(grain.whole_grains(range(130, 200), end), 2..2);
        assert_eq!(grain.whole_grains(range(256, 300), end), 2..3);
    }

    #[test]
    fn grain_sizes_are_powers_of_two() {
        assert_eq!(GrainSize::new(0), None);
        assert_eq!(GrainSize::new(100), None);
        let grain = GrainSize::new(8).expect("power of two");
        assert_eq!(grain.round_up(9), 16);
        assert_eq!(grain.grain_of(Sector::new(17)), 2);
        assert_eq!(grain.offset_in(Sector::new(17)), 1);
        assert_eq!(grain.bytes(), 4096);
    }
}
