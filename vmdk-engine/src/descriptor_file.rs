//! The file that holds a descriptor, and how another text takes its place: after a crash there is the old or the new.
//!
//! A descriptor in a file of its own is replaced by a draft. One that is embedded in an extent stays there: the new text
//! first goes to the end of the area that is kept for it, then the header points to that, in one sector; then the new
//! text goes to the front, and the header points there again. Changes within one sector need none of that.

use std::path::Path;
use std::sync::Arc;

use disk_units::{ByteLen, SECTOR_SIZE, Sector, SectorCount, SectorRange};
use zerocopy::IntoBytes;

use crate::descriptor::{Descriptor, Patch};
use crate::draft::{NewFiles, make_draft};
use crate::error::{Cause, Error, ErrorKind, IoFault};
use crate::extent::header::SparseShape;
use crate::extent::table::read_directory;
use crate::fuse::Fuse;
use crate::gate::{OpenGate, OpenedFile};
use crate::layout::{DESCRIPTOR_PLACE_AT, SparseHeader};
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position, clamped};

/// The text is too long for the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "a descriptor of {length} bytes does not fit, together with the old one, into the {room} bytes that the file keeps for it"
)]
struct NoRoom {
    length: usize,
    room: usize,
}

impl Cause for NoRoom {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoRoom
    }
}

/// A file with a descriptor in it.
#[derive(Clone, Debug)]
pub(crate) struct DescriptorFile {
    file: OpenedFile,
    /// Where the text begins.
    start: ByteLen,
    room: Room,
}

/// Where a changed text may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// The file holds nothing else, and another can take its place.
    OwnFile,
    /// What is kept for the text in an extent.
    Area(SectorRange),
    /// Nowhere.
    None,
}

/// The text stands where it cannot be changed.
#[derive(Debug, thiserror::Error)]
#[error("the descriptor of a disk of this kind cannot be changed")]
struct Fixed;

impl Cause for Fixed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }
}

impl DescriptorFile {
    /// `shape` is that of the extent around the text, if there is one.
    pub(crate) fn new(file: OpenedFile, start: ByteLen, shape: Option<&SparseShape>) -> Self {
        let room = match shape.map(|shape| area_of(&*file.storage, shape)) {
            None => Room::OwnFile,
            Some(Some(area)) => Room::Area(area),
            // The header speaks for a text that there is not.
            Some(None) => Room::None,
        };
        Self { file, start, room }
    }

    /// One that stays as it is, whatever is around it.
    pub(crate) fn fixed(file: OpenedFile, start: ByteLen) -> Self {
        let room = Room::None;
        Self { file, start, room }
    }

    pub(crate) fn file(&self) -> &OpenedFile {
        &self.file
    }

    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.room, Room::Area(_))
    }

    fn storage(&self) -> &Arc<dyn Storage> {
        &self.file.storage
    }

    /// Overwrites parts of the text. They are not durable yet.
    pub(crate) fn patch(&self, patches: &[Patch]) -> Result<(), Error> {
        for patch in patches {
            let offset = ByteLen::new(u64::try_from(patch.position).unwrap_or(u64::MAX));
            self.start
                .checked_add(offset)
                .map_or(Ok(()), |position| {
                    self.storage().write_all_at(&patch.bytes, position)
                })
                .map_err(|error| IoFault::new("writing the descriptor", error))?;
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.storage()
            .sync_data()
            .map_err(|error| IoFault::new("making the descriptor durable", error).into())
    }

    /// Puts `new` in the place of `old`, durably. Where a failure leaves it open which of them is there, the fuse blows.
    pub(crate) fn replace(
        &mut self,
        gate: &dyn OpenGate,
        fuse: &Fuse,
        old: &Descriptor,
        new: &Descriptor,
    ) -> Result<(), Error> {
        match self.room {
            Room::Area(area) => {
                let steps = self.plan(area, old.as_bytes(), new.as_bytes(), false)?;
                fuse.protect(|| self.carry_out(area, &steps, new.as_bytes(), None))
            }
            Room::OwnFile => {
                self.replace_file(gate, new.as_bytes())?;
                fuse.protect(|| Ok(gate.sync_folder(&self.file.path)?))
            }
            Room::None => Err(Fixed.into()),
        }
    }

    /// The same for a text in an extent, together with what else its header says.
    pub(crate) fn replace_with_header(
        &mut self,
        fuse: &Fuse,
        old: &Descriptor,
        new: &Descriptor,
        header: SparseHeader,
    ) -> Result<(), Error> {
        let Room::Area(area) = self.room else {
            return Err(Fixed.into());
        };
        let steps = self.plan(area, old.as_bytes(), new.as_bytes(), true)?;
        fuse.protect(|| self.carry_out(area, &steps, new.as_bytes(), Some(header)))
    }

    fn replace_file(&mut self, gate: &dyn OpenGate, text: &[u8]) -> Result<(), Error> {
        let pending = write_draft(gate, &self.file.path, text)?;
        self.put(gate, pending)
    }

    /// Writes the text that a file of its own will have, as a draft, durably.
    pub(crate) fn prepare<'g>(
        &self,
        gate: &'g dyn OpenGate,
        new: &Descriptor,
    ) -> Result<Pending<'g>, Error> {
        let pending = write_draft(gate, &self.file.path, new.as_bytes())?;
        gate.sync_folder(&self.file.path)?;
        Ok(pending)
    }

    /// Puts a draft in the place of the file. The name is not durable yet.
    pub(crate) fn put(&mut self, gate: &dyn OpenGate, pending: Pending<'_>) -> Result<(), Error> {
        let Pending { files, draft } = pending;
        gate.replace(&draft.path, &self.file.path)
            .map_err(|error| Error::from(error).at(&draft.path))?;
        files.keep();
        // The lock of the draft is that of the disk now.
        self.file = OpenedFile {
            path: self.file.path.clone(),
            ..draft
        };
        Ok(())
    }

    /// The ways to write a text, of which none can damage the old one.
    ///
    /// With `must_switch`, the header is written in any case.
    fn plan(
        &self,
        area: SectorRange,
        old: &[u8],
        new: &[u8],
        must_switch: bool,
    ) -> Result<Vec<Step>, NoRoom> {
        let (length, old_length) = (sectors(new), sectors(old));
        let front = clamped(area.start(), length);
        let live = clamped(Sector::new(self.start.get() / 512), old_length);
        let back_start = area.end().get().saturating_sub(length.get());
        let back = clamped(Sector::new(back_start), length);
        // Two texts without a NUL between them would be one.
        let is_apart = |text: SectorRange, behind: SectorRange| {
            let has_end = !new.len().is_multiple_of(SECTOR_SIZE);
            text.end() < behind.start() || (text.end() == behind.start() && has_end)
        };
        let is_at_front = live.start() == area.start();
        let rest = clamped(front.end(), SectorCount::new(u64::MAX));
        let clear = Step::Clear(rest.intersection(area).unwrap_or_default());
        let is_small = !must_switch && length <= area.count() && is_one_sector(old, new);
        if is_at_front && is_small {
            let both = length.max(old_length).min(area.count());
            Ok(vec![Step::Write(clamped(area.start(), both))])
        } else if is_at_front && live.end() <= back.start() && is_apart(front, back) {
            let switch = [Step::Write(back), Step::PointTo(back)];
            let switch_back = [Step::Write(front), Step::PointTo(area), clear];
            Ok(switch.into_iter().chain(switch_back).collect())
        } else if !is_at_front && is_apart(front, live) {
            // An earlier change was interrupted when the text stood at the end.
            Ok(vec![Step::Write(front), Step::PointTo(area), clear])
        } else {
            Err(NoRoom {
                length: new.len(),
                room: buffer_len(area.count()),
            })
        }
    }

    /// Carries out what was planned, each step durable before the next.
    fn carry_out(
        &mut self,
        area: SectorRange,
        steps: &[Step],
        text: &[u8],
        mut header: Option<SparseHeader>,
    ) -> Result<(), Error> {
        for step in steps {
            match *step {
                Step::Write(range) => self.write_text(range, text)?,
                Step::Clear(range) => self.write_text(range, &[])?,
                Step::PointTo(range) => match &mut header {
                    Some(header) => self.write_header(header, range)?,
                    None => self.point_to(range)?,
                },
            }
        }
        self.start = byte_position(area.start());
        Ok(())
    }

    /// Writes a text and NULs behind it, durably.
    fn write_text(&self, range: SectorRange, text: &[u8]) -> Result<(), Error> {
        let mut bytes = text.to_vec();
        bytes.resize(buffer_len(range.count()), 0);
        self.storage()
            .write_all_at(&bytes, byte_position(range.start()))
            .map_err(|error| IoFault::new("writing the descriptor", error))?;
        self.sync()
    }

    /// Writes all of the header, which says where the text is, durably.
    fn write_header(&self, header: &mut SparseHeader, range: SectorRange) -> Result<(), Error> {
        header.descriptor_offset = range.start().get().into();
        header.descriptor_size = range.count().get().into();
        self.storage()
            .write_all_at(header.as_bytes(), ByteLen::ZERO)
            .map_err(|error| IoFault::new("writing the header", error))?;
        self.sync()
    }

    /// Lets the header say where the text is, durably. Both fields lie in one sector.
    fn point_to(&self, range: SectorRange) -> Result<(), Error> {
        let fields = [range.start().get(), range.count().get()];
        let bytes: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        self.storage()
            .write_all_at(&bytes, ByteLen::new(DESCRIPTOR_PLACE_AT))
            .map_err(|error| IoFault::new("writing the header", error))?;
        self.sync()
    }
}

/// The draft of a descriptor; removed again unless it is put in its place.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    /// Before the draft, so that it goes before its lock does.
    files: NewFiles<'a>,
    draft: OpenedFile,
}

fn write_draft<'a>(gate: &'a dyn OpenGate, path: &Path, text: &[u8]) -> Result<Pending<'a>, Error> {
    let draft = make_draft(gate, path)?;
    let mut files = NewFiles::new(gate);
    files.add(&draft.path);
    let written = draft.storage.write_all_at(text, ByteLen::ZERO);
    written
        .and_then(|()| draft.storage.sync_data())
        .map_err(|error| {
            Error::from(IoFault::new("writing the descriptor", error)).at(&draft.path)
        })?;
    Ok(Pending { files, draft })
}

/// Part of putting a new text into the area that is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The text goes to some sectors, with NULs behind it.
    Write(SectorRange),
    /// The header gets to say that it is there.
    PointTo(SectorRange),
    Clear(SectorRange),
}

/// Where a changed text may go in an extent. That no table is in front of the text is seen in the directories only, and
/// asked for only where the text does not follow the header.
fn area_of(storage: &dyn Storage, shape: &SparseShape) -> Option<SectorRange> {
    let (text, area) = (shape.descriptor?, shape.descriptor_area()?);
    let has_table = |directory| {
        let entries = read_directory(storage, directory, shape.directory_entries);
        entries.map_or(true, |entries| {
            entries
                .into_iter()
                .filter(|entry| *entry != 0)
                .any(|entry| {
                    let table = clamped(Sector::new(u64::from(entry)), shape.table_len());
                    table.intersection(area).is_some()
                })
        })
    };
    let mut directories = [Some(shape.directory), shape.redundant_directory]
        .into_iter()
        .flatten();
    let is_alone = area == text || !directories.any(has_table);
    Some(if is_alone { area } else { text })
}

fn sectors(text: &[u8]) -> SectorCount {
    ByteLen::new(u64::try_from(text.len()).unwrap_or(u64::MAX)).sectors_rounded_up()
}

/// Whether the texts, with NULs behind them, differ in one sector only.
fn is_one_sector(old: &[u8], new: &[u8]) -> bool {
    let part = |text: &[u8], start: usize| {
        let part = text.get(start..).unwrap_or_default();
        let mut part = part.get(..SECTOR_SIZE).unwrap_or(part).to_vec();
        part.resize(SECTOR_SIZE, 0);
        part
    };
    let starts = (0..old.len().max(new.len())).step_by(SECTOR_SIZE);
    let differs = |start: &usize| part(old, *start) != part(new, *start);
    starts.filter(differs).count() <= 1
}
