//! The header of a hosted sparse extent: what is wrong with it, and the header that it should have.

use disk_units::{ByteLen, Sector, SectorRange};
use zerocopy::IntoBytes;

use super::finding::{FindingKind, Notes, Severity, impossible, possible};
use super::link;
use crate::error::{Error, IoFault};
use crate::extent::header::{Damage, SparseShape, WholePart, check_header, read_header};
use crate::extent::survey::{Survey, read_sectors};
use crate::extent::table::read_directory;
use crate::layout::{FLAG_COMPRESSED, FLAG_REDUNDANT, FLAG_ZEROED, SparseHeader};
use crate::storage::Storage;
use crate::units::{byte_position, clamped};

/// Damages of one header.
const MAX_DAMAGES: usize = 8;

/// A header as it is, and as it should be.
#[derive(Debug)]
pub(super) struct Header {
    found: SparseHeader,
    mended: SparseHeader,
    pub(super) shape: SparseShape,
}

impl Header {
    /// Reads the header and notes what is wrong with it; `None` if nothing can be done with it.
    pub(super) fn load(
        storage: &dyn Storage,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Self>, Error> {
        let file = storage
            .len()
            .map_err(|error| IoFault::new("asking for the length of the file", error))?;
        let found = match read_header(storage, ByteLen::ZERO, file) {
            Ok(found) => found,
            Err(error) => return fatal(notes, error),
        };
        if let Err(error) = check_header(&found) {
            return fatal(notes, error.into());
        }
        if found.flags.get() & FLAG_COMPRESSED != 0 {
            return match SparseShape::load(storage) {
                Ok(shape) => Ok(Some(Self {
                    mended: found.clone(),
                    found,
                    shape,
                })),
                // What stands at the end may be lost; what that means, whoever reads the records finds out.
                Err(error) => match SparseShape::of_records(&found, file.whole_part()) {
                    Ok(shape) => Ok(Some(Self {
                        mended: found.clone(),
                        found,
                        shape,
                    })),
                    Err(_) => fatal(notes, error),
                },
            };
        }
        let mut mended = found.clone();
        if mended.overhead.get() > file.whole_part().get() {
            mended.overhead = 0.into();
        }
        let mut noted = Vec::new();
        for _ in 0..MAX_DAMAGES {
            let directory = mended.directory.get();
            let shape = match SparseShape::from_checked(&mended, directory, file.whole_part()) {
                Ok(shape) => shape,
                Err(error) => return fatal(notes, error),
            };
            let Some(damage) = shape.damage.or_else(|| unreadable(storage, &shape)) else {
                let mut header = Self {
                    found,
                    mended,
                    shape,
                };
                header.drop_idle_claim(notes);
                return Ok(Some(header));
            };
            if damage == Damage::DirectoryUnreadable && shape.redundant_directory.is_none() {
                let why = impossible("there is no copy of it that can be read");
                let what = damage.to_string();
                notes.add(Severity::Fatal, FindingKind::Directory, None, what, why);
                return Ok(None);
            }
            if damage == Damage::DescriptorOverlap && hides_text(&shape) {
                let why = impossible("nothing says which of the two is really there");
                let what = damage.to_string();
                notes.add(Severity::Error, FindingKind::Descriptor, None, what, why);
                return Ok(Some(Self {
                    found,
                    mended,
                    shape,
                }));
            }
            let done = mend(storage, &mut mended, &shape, damage, file)?;
            let repair = match damage {
                // Parts of it may be readable, and what they name.
                Damage::DirectoryUnreadable | Damage::CopyUnreadable => notes.with_permission(done),
                _ => possible(done),
            };
            if !noted.contains(&damage) {
                noted.push(damage);
                let (kind, severity) = match damage {
                    Damage::OverheadTooSmall => (FindingKind::Overhead, Severity::Error),
                    Damage::DescriptorOverlap => (FindingKind::Descriptor, Severity::Error),
                    _ => (FindingKind::Directory, Severity::Error),
                };
                notes.add(severity, kind, None, damage.to_string(), repair);
            }
        }
        let severity = match SparseShape::load(storage) {
            Ok(_) => Severity::Error,
            Err(_) => Severity::Fatal,
        };
        notes.add(
            severity,
            FindingKind::Header,
            None,
            "the header contradicts itself in more than one way",
            impossible("nothing says what the header was"),
        );
        Ok(None)
    }

    /// A second directory that is claimed, but is none.
    fn drop_idle_claim(&mut self, notes: &mut Notes<'_>) {
        let flags = self.mended.flags.get();
        if flags & FLAG_REDUNDANT == 0 || self.shape.redundant_directory.is_some() {
            return;
        }
        self.mended.flags = (flags & !FLAG_REDUNDANT).into();
        self.mended.redundant_directory = 0.into();
        if self.found.flags.get() & FLAG_REDUNDANT != 0
            && self.found.directory == self.mended.directory
        {
            let start = self.found.redundant_directory.get();
            if start == 0 || start == self.found.directory.get() {
                notes.add(
                    Severity::Warning,
                    FindingKind::Directory,
                    None,
                    "the header claims a redundant grain directory, but there is none",
                    possible("the claim is dropped"),
                );
            }
        }
    }

    /// Has the first grain at `sector`.
    pub(super) fn set_overhead(&mut self, sector: Sector) {
        self.mended.overhead = sector.get().into();
    }

    /// Whether the overhead has been found wrong.
    pub(super) fn has_new_overhead(&self) -> bool {
        self.mended.overhead != self.found.overhead
    }

    /// Provides for entries of 1, as version 2 does.
    pub(super) fn provide_for_zeros(&mut self) {
        self.mended.flags = (self.mended.flags.get() | FLAG_ZEROED).into();
        self.mended.version = self.mended.version.get().max(2).into();
    }

    /// The header as it should be; `None` if that is how it is.
    pub(super) fn new_bytes(&self) -> Option<Vec<u8>> {
        let mended = self.mended.as_bytes();
        (mended != self.found.as_bytes()).then(|| mended.to_vec())
    }
}

/// Notes that the header cannot be used at all.
fn fatal(notes: &mut Notes<'_>, error: Error) -> Result<Option<Header>, Error> {
    link::fatal(notes, FindingKind::Header, error)?;
    Ok(None)
}

/// Changes the one field that is damaged, and says how.
fn mend(
    storage: &dyn Storage,
    header: &mut SparseHeader,
    shape: &SparseShape,
    damage: Damage,
    file: ByteLen,
) -> Result<String, Error> {
    let copy_len = shape
        .table_len()
        .get()
        .saturating_mul(u64::from(shape.directory_entries))
        .saturating_add(shape.directory_len().get());
    Ok(match damage {
        Damage::DirectoryMisplaced => {
            // Usually it stands right behind the redundant tables.
            let copy = Sector::new(header.redundant_directory.get());
            let usual = Sector::new(copy.get().saturating_add(copy_len));
            let found = with_directories(header, usual, copy);
            let is_found = is_directory(storage, shape, usual, file);
            if !is_found || !spares_grains(storage, shape, &found, file)? {
                use_copy_alone(header)
            } else if is_directory(storage, shape, copy, file)
                && has_same_tables(storage, shape, [copy, usual])?
            {
                *header = found;
                format!("it is found where it usually stands, at sector {usual}")
            } else {
                *header = with_directories(header, copy, usual);
                format!(
                    "it is found where it usually stands, at sector {usual}; as it differs from the redundant one, through which the disk was read, the two change places"
                )
            }
        }
        Damage::DirectoryUnreadable => use_copy_alone(header),
        Damage::CopyUnreadable => drop_copy(header),
        Damage::CopyMisplaced => {
            let primary = Sector::new(header.directory.get());
            let usual = Sector::new(primary.get().saturating_sub(copy_len));
            let found = with_directories(header, primary, usual);
            let is_found = is_directory(storage, shape, usual, file);
            if is_found && spares_grains(storage, shape, &found, file)? {
                *header = found;
                format!("it is found where it usually stands, at sector {usual}")
            } else {
                drop_copy(header)
            }
        }
        Damage::OverheadTooSmall => {
            header.overhead = shape.data_start.get().into();
            "it is computed anew".to_owned()
        }
        Damage::DescriptorOverlap => {
            let start = header.descriptor_offset.get();
            let end = [Some(shape.directory), shape.redundant_directory]
                .into_iter()
                .flatten()
                .map(Sector::get)
                .filter(|directory| *directory > start)
                .min()
                .unwrap_or(start);
            header.descriptor_size = end.saturating_sub(start).into();
            "the descriptor's area is made to end before it".to_owned()
        }
    })
}

/// Whether a directory has the place where the text begins, so that no shorter text is apart from it.
fn hides_text(shape: &SparseShape) -> bool {
    let Some(text) = shape.descriptor else {
        return false;
    };
    [Some(shape.directory), shape.redundant_directory]
        .into_iter()
        .flatten()
        .any(|start| clamped(start, shape.directory_len()).contains(text.start()))
}

fn with_directories(header: &SparseHeader, primary: Sector, copy: Sector) -> SparseHeader {
    let mut header = header.clone();
    header.directory = primary.get().into();
    header.redundant_directory = copy.get().into();
    header
}

/// Whether no grain that readers find lies where `mended` has directories, or in front of all grains.
fn spares_grains(
    storage: &dyn Storage,
    found: &SparseShape,
    mended: &SparseHeader,
    file: ByteLen,
) -> Result<bool, Error> {
    let directory = mended.directory.get();
    let Ok(mended) = SparseShape::from_checked(mended, directory, file.whole_part()) else {
        return Ok(false);
    };
    let grains = Survey::run(storage, found, &mut |_| Ok(()))?.places;
    let front = SectorRange::between(Sector::ZERO, mended.data_start);
    let mut metadata = mended.reserved().chain(front);
    Ok(!metadata.any(|range| grains.has_any_in(range)))
}

fn use_copy_alone(header: &mut SparseHeader) -> String {
    header.directory = header.redundant_directory;
    drop_copy(header);
    "the redundant grain directory takes its place".to_owned()
}

fn drop_copy(header: &mut SparseHeader) -> String {
    header.redundant_directory = 0.into();
    header.flags = (header.flags.get() & !FLAG_REDUNDANT).into();
    "the disk goes on with one grain directory".to_owned()
}

/// A directory on sectors that the medium does not give back, of which the other one has a copy, if there is another.
fn unreadable(storage: &dyn Storage, shape: &SparseShape) -> Option<Damage> {
    let is_lost = |start| read_directory(storage, start, shape.directory_entries).is_err();
    if is_lost(shape.directory) {
        return Some(Damage::DirectoryUnreadable);
    }
    let is_copy_lost = shape.redundant_directory.is_some_and(is_lost);
    is_copy_lost.then_some(Damage::CopyUnreadable)
}

/// Whether the tables behind two directories, each as [`is_directory`] has found it, are the same.
fn has_same_tables(
    storage: &dyn Storage,
    shape: &SparseShape,
    directories: [Sector; 2],
) -> Result<bool, Error> {
    let [mut one, mut other] = directories.map(|start| {
        let tables = start.checked_add(shape.directory_len());
        u32::try_from(tables.unwrap_or(start).get()).unwrap_or(u32::MAX)
    });
    let length = shape.table_len().get();
    for _ in 0..shape.directory_entries {
        if read_sectors(storage, one, length)? != read_sectors(storage, other, length)? {
            return Ok(false);
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        one = one.saturating_add(length);
        other = other.saturating_add(length);
    }
    Ok(true)
}

/// Whether a directory stands there whose tables follow it one behind the other, as most programs lay them out.
fn is_directory(storage: &dyn Storage, shape: &SparseShape, start: Sector, file: ByteLen) -> bool {
    let Some(end) = start.checked_add(shape.directory_len()) else {
        return false;
    };
    if start.get()
        <= shape
            .descriptor
            .map_or(0, |text| text.end().get().saturating_sub(1))
        || byte_position(end) > file
    {
        return false;
    }
    let Ok(entries) = read_directory(storage, start, shape.directory_entries) else {
        return false;
    };
    let length = shape.table_len().get();
    let mut expected = end.get();
    for entry in &entries {
        if u64::from(*entry) != expected {
            return false;
        }
        expected = expected.saturating_add(length);
    }
    !entries.is_empty()
}
