//! Access to any byte of a disk that knows whole sectors only.

use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorRange};

use super::range_lock::RangeLock;
use super::sectors::Sectors;
use crate::bytes::{Piece, pieces};
use crate::nbd::ErrorNumber;
use crate::nbd::export::{ExportError, ZeroRequest};

pub(super) const SECTOR_BYTES: u64 = SECTOR_SIZE as u64;

/// A disk of sectors, with access to single bytes.
#[derive(Debug)]
pub(super) struct Bytewise<D> {
    disk: D,
    /// Held around every change: one that covers a sector in part reads it first, and nobody may change the sector
    /// between that and the write.
    writers: RangeLock,
}

/// All sectors that the bytes touch.
pub(super) fn touched(offset: ByteLen, length: ByteLen) -> SectorRange {
    let end = ByteLen::new(offset.get() + length.get()).sectors_rounded_up();
    SectorRange::between(
        Sector::new(offset.get() / SECTOR_BYTES),
        Sector::new(end.get()),
    )
    .expect("the end of a request does not lie before its start")
}

impl<D: Sectors> Bytewise<D> {
    pub(super) fn new(disk: D) -> Self {
        Self {
            disk,
            writers: RangeLock::default(),
        }
    }

    pub(super) fn sectors(&self) -> &D {
        &self.disk
    }

    pub(super) fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        let mut rest = buf;
        for piece in pieces(offset, length_of(rest)) {
            let (here, behind) = rest.split_at_mut(piece.length());
            rest = behind;
            match piece {
                Piece::Whole { range, .. } => self.disk.read_at(range.start(), here)?,
                Piece::Part { sector, skip, .. } => {
                    let mut whole = [0; SECTOR_SIZE];
                    self.disk.read_at(sector, &mut whole)?;
                    here.copy_from_slice(&whole[skip..skip + here.len()]);
                }
            }
        }
        Ok(())
    }

    pub(super) fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        let _guard = self.writers.lock(touched(offset, length_of(buf)));
        let mut rest = buf;
        for piece in pieces(offset, length_of(buf)) {
            let (here, behind) = rest.split_at(piece.length());
            rest = behind;
            match piece {
                Piece::Whole { range, .. } => self.disk.write_at(range.start(), here)?,
                Piece::Part { sector, skip, .. } => self.change(sector, |whole| {
                    whole[skip..skip + here.len()].copy_from_slice(here);
                })?,
            }
        }
        Ok(())
    }

    pub(super) fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        let _guard = self.writers.lock(touched(offset, length));
        let whole = whole_sectors(offset, length);
        match whole {
            // First, because it may fail as not fast, and then nothing may have changed.
            Some(range) => self.disk.write_zeroes(range, request)?,
            None if request.fast_only => {
                let message = "zeroing less than a sector is no faster than writing it";
                return Err(ExportError::new(ErrorNumber::NotSupported, message));
            }
            None => {}
        }
        for piece in pieces(offset, length) {
            if let Piece::Part {
                sector,
                skip,
                length,
            } = piece
            {
                self.change(sector, |whole| whole[skip..skip + length].fill(0))?;
            }
        }
        Ok(())
    }

    pub(super) fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        let Some(range) = whole_sectors(offset, length) else {
            return Ok(());
        };
        let _guard = self.writers.lock(range);
        self.disk.trim(range)
    }

    /// Reads a sector, lets `edit` change it, writes it back. The caller holds the lock.
    fn change(
        &self,
        sector: Sector,
        edit: impl FnOnce(&mut [u8; SECTOR_SIZE]),
    ) -> Result<(), ExportError> {
        let mut whole = [0; SECTOR_SIZE];
        self.disk.read_at(sector, &mut whole)?;
        edit(&mut whole);
        self.disk.write_at(sector, &whole)
    }
}

pub(super) fn length_of(buf: &[u8]) -> ByteLen {
    ByteLen::new(buf.len().try_into().expect("a usize has at most 64 bits"))
}

fn whole_sectors(offset: ByteLen, length: ByteLen) -> Option<SectorRange> {
    pieces(offset, length).find_map(|piece| match piece {
        Piece::Whole { range, .. } => Some(range),
        Piece::Part { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::disk::runs::State;
    use parking_lot::Mutex;
    use proptest::prelude::*;

    /// A disk in memory that counts as fast only what begins at an even sector.
    #[derive(Default)]
    struct Ram(Mutex<Vec<u8>>);

    fn from(sector: Sector) -> usize {
        usize::try_from(sector.byte_offset().unwrap().get()).unwrap()
    }

    impl Ram {
        fn bytes_of(range: SectorRange) -> std::ops::Range<usize> {
            from(range.start())..from(range.end())
        }
    }

    impl Sectors for Ram {
        fn read_at(&self, start: Sector, buf: &mut [u8]) -> Result<(), ExportError> {
            assert!(buf.len().is_multiple_of(SECTOR_SIZE) && !buf.is_empty());
            buf.copy_from_slice(&self.0.lock()[from(start)..][..buf.len()]);
            Ok(())
        }
        fn write_at(&self, start: Sector, buf: &[u8]) -> Result<(), ExportError> {
            assert!(buf.len().is_multiple_of(SECTOR_SIZE) && !buf.is_empty());
            self.0.lock()[from(start)..][..buf.len()].copy_from_slice(buf);
            Ok(())
        }
        fn write_zeroes(
            &self,
            range: SectorRange,
            request: ZeroRequest,
        ) -> Result<(), ExportError> {
            if request.fast_only && !range.start().get().is_multiple_of(2) {
                return Err(ExportError::new(ErrorNumber::NotSupported, "slow"));
            }
            self.0.lock()[Self::bytes_of(range)].fill(0);
            Ok(())
        }
        fn trim(&self, range: SectorRange) -> Result<(), ExportError> {
            self.0.lock()[Self::bytes_of(range)].fill(0);
            Ok(())
        }
        fn flush(&self) -> Result<(), ExportError> {
            Ok(())
        }
        fn has_parents(&self) -> bool {
            false
        }
        fn states(&self, _: SectorRange) -> impl Iterator<Item = (SectorRange, State)> {
            std::iter::empty()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u8),
        Zero { fast: bool },
        Trim,
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Write),
            any::<bool>().prop_map(|fast| Step::Zero { fast }),
            Just(Step::Trim),
            Just(Step::Read),
        ]
    }

    proptest! {
        /// Against a plain vector of bytes.
        #[test]
        fn bytes_behave_like_bytes(steps in proptest::collection::vec((step(), 0_usize..4096, 1_usize..2000), 1..40)) {
            let mut model = vec![0xaa; 6144];
            let disk = Bytewise::new(Ram(Mutex::new(model.clone())));
            for (step, offset, length) in steps {
                let at = ByteLen::new(offset as u64);
                let count = ByteLen::new(length as u64);
                let here = offset..offset + length;
                match step {
                    Step::Write(byte) => {
                        let data = vec![byte; length];
                        disk.write_at(at, &data).unwrap();
                        model[here].copy_from_slice(&data);
                    }
                    Step::Zero { fast } => {
                        let request = ZeroRequest { may_free: true, fast_only: fast };
                        match disk.write_zeroes(at, count, request) {
                            Ok(()) => model[here].fill(0),
                            Err(error) => {
                                prop_assert!(fast);
                                prop_assert_eq!(error.number(), ErrorNumber::NotSupported);
                            }
                        }
                    }
                    Step::Trim => {
                        disk.trim(at, count).unwrap();
                        if let Some(range) = whole_sectors(at, count) {
                            model[Ram::bytes_of(range)].fill(0);
                        }
                    }
                    Step::Read => {
                        let mut data = vec![0; length];
                        disk.read_at(at, &mut data).unwrap();
                        prop_assert!(data == model[here]);
                    }
                }
                prop_assert!(*disk.sectors().0.lock() == model);
            }
        }
    }

    #[test]
    fn neighbours_in_one_sector_do_not_lose_each_other() {
        let disk = Bytewise::new(Ram(Mutex::new(vec![0; 1024])));
        std::thread::scope(|scope| {
            for writer in 0..8_u64 {
                let disk = &disk;
                scope.spawn(move || {
                    for round in 0..=255 {
                        let at = ByteLen::new(508 + writer);
                        disk.write_at(at, &[round]).unwrap();
                        let mut seen = [0];
                        disk.read_at(at, &mut seen).unwrap();
                        assert_eq!(seen, [round]);
                    }
                });
            }
        });
        assert_eq!(disk.sectors().0.lock()[508..516], [255; 8]);
    }
}
