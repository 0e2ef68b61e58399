//! One hosted sparse or COWD extent: its header, its tables, its length.

use disk_units::{ByteLen, Sector, SectorRange};

use super::finding::{FindingKind, Notes, Report, Severity, possible};
use super::header::Header;
use super::link::length_of;
use super::tables::{Extent, Learned};
use crate::error::{Error, IoFault};
use crate::extent::header::{SparseShape, WholePart};
use crate::gate::OpenedFile;
use crate::units::byte_position;

/// An extent that was looked at, with all that a repair of it needs.
#[derive(Debug)]
pub(super) struct Sparse {
    file: OpenedFile,
    shape: SparseShape,
    range: SectorRange,
    has_parent: bool,
    allows_loss: bool,
    /// The header, if it is to be another.
    header: Option<Vec<u8>>,
    must_mend: bool,
    /// How long the file is to be, if it has a tail that nobody needs.
    length: Option<ByteLen>,
    /// What the header is to say of the first unused sector.
    free_sector: Option<u32>,
}

impl Sparse {
    pub(super) fn check_hosted(
        file: OpenedFile,
        mut header: Header,
        range: SectorRange,
        has_parent: bool,
        notes: &mut Notes<'_>,
    ) -> Result<Self, Error> {
        let mut extent = Self::new(file, header.shape.clone(), range, has_parent, notes);
        let learned = extent.check_tables(notes)?;
        if header.has_new_overhead() {
            // Without grains they are to begin at a multiple of their size, unless the file ends before.
            let end = learned.used_end.max(extent.shape.data_start).get();
            let file = length_of(&*extent.file.storage)?.whole_part().get();
            let first = extent.shape.grain.round_up(end).min(file.max(end));
            header.set_overhead(learned.lowest.unwrap_or(Sector::new(first)));
        }
        if learned.needs_zeros {
            header.provide_for_zeros();
        }
        extent.header = header.new_bytes();
        Ok(extent)
    }

    pub(super) fn check_cowd(
        file: OpenedFile,
        shape: SparseShape,
        range: SectorRange,
        has_parent: bool,
        notes: &mut Notes<'_>,
    ) -> Result<Self, Error> {
        let mut extent = Self::new(file, shape, range, has_parent, notes);
        let learned = extent.check_tables(notes)?;
        let Some(free) = extent.shape.free_sector else {
            return Ok(extent);
        };
        let used = learned.used_end.max(extent.shape.data_start);
        let found = learned.found_end.max(extent.shape.data_start);
        if free.first < found {
            notes.add(
                Severity::Error,
                FindingKind::FreeSector,
                None,
                format!(
                    "the header has sector {} as the first unused one, but the file is in use up to sector {found}",
                    free.first
                ),
                possible("the header is corrected"),
            );
            extent.free_sector = u32::try_from(used.get()).ok();
        } else if learned.used_end > free.first {
            extent.free_sector = u32::try_from(used.get()).ok();
        }
        Ok(extent)
    }

    fn new(
        file: OpenedFile,
        shape: SparseShape,
        range: SectorRange,
        has_parent: bool,
        notes: &Notes<'_>,
    ) -> Self {
        Self {
            file,
            shape,
            range,
            has_parent,
            allows_loss: notes.allows_loss(),
            header: None,
            must_mend: false,
            length: None,
            free_sector: None,
        }
    }

    fn tables(&self) -> Extent<'_> {
        Extent {
            storage: &*self.file.storage,
            shape: &self.shape,
            range: self.range,
            has_parent: self.has_parent,
        }
    }

    fn check_tables(&mut self, notes: &mut Notes<'_>) -> Result<Learned, Error> {
        if self.shape.is_dirty {
            notes.add(
                Severity::Info,
                FindingKind::UncleanShutdown,
                None,
                "the disk was not closed properly",
                possible("that is noted as looked after"),
            );
        }
        let learned = self.tables().check(notes)?;
        self.must_mend = learned.must_mend;
        let length = length_of(&*self.file.storage)?;
        let rest = length.get() % 512;
        let whole = ByteLen::new(length.get().saturating_sub(rest));
        if rest != 0 && byte_position(learned.used_end) <= whole && !learned.must_mend {
            notes.add(
                Severity::Info,
                FindingKind::FileLength,
                None,
                format!("the file ends with {rest} bytes of a sector that nobody needs"),
                possible("they are cut off"),
            );
            self.length = Some(whole);
        }
        Ok(learned)
    }

    /// Repairs all but the note that the disk was not closed properly.
    pub(super) fn repair(&self) -> Result<(), Error> {
        self.repair_parts()
            .map_err(|error| error.at(&self.file.path))
    }

    fn repair_parts(&self) -> Result<(), Error> {
        let storage = &self.file.storage;
        let fault = |error| IoFault::new("writing the header", error);
        if let Some(header) = &self.header {
            storage
                .write_all_at(header, ByteLen::ZERO)
                .and_then(|()| storage.sync_data())
                .map_err(fault)?;
        }
        if self.must_mend {
            let mut said = Report::default();
            let mut notes = Notes::new(&mut said, &self.file.path, self.allows_loss);
            self.tables().mend(&mut notes)?;
        }
        if let (Some(sector), Some(free)) = (self.free_sector, self.shape.free_sector) {
            storage
                .write_all_at(&sector.to_le_bytes(), free.position)
                .and_then(|()| storage.sync_data())
                .map_err(fault)?;
        }
        if let Some(length) = self.length {
            storage
                .set_len(length)
                .and_then(|()| storage.sync_data())
                .map_err(|error| IoFault::new("cutting the file", error))?;
        }
        Ok(())
    }

    /// Clears the note that the disk was not closed properly.
    pub(super) fn note_closed(&self) -> Result<(), Error> {
        if !self.shape.is_dirty {
            return Ok(());
        }
        let storage = &self.file.storage;
        storage
            .write_all_at(self.shape.dirty_mark(false), self.shape.dirty_byte)
            .and_then(|()| storage.sync_data())
            .map_err(|error| {
                Error::from(IoFault::new("writing the header", error)).at(&self.file.path)
            })
    }
}
