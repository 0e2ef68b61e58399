//! Longer files, and more of them: how disks grow whose extents are in files of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount};

use crate::closed::{ClosedDisk, Named};
use crate::create::{DiskName, NewExtent, NewFormat, SPLIT, fill, parts_of, take_space};
use crate::descriptor::{ExtentKind, ExtentLine, Rewrite};
use crate::draft::{NewFiles, draft_of, open_left_behind};
use crate::error::{Error, ErrorKind, IoFault};
use crate::extent::header::SparseShape;
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::info::DiskKind;
use crate::link::Text;
use crate::progress::Work;
use crate::storage::{Storage, write_zeros};
use crate::units::byte_position;

use super::GrowError;
use super::sparse::FullerGrain;

/// What changes among the extents.
pub(super) struct Plan {
    /// The new size of the last extent, if it gets longer.
    last: Option<SectorCount>,
    /// By how much it does.
    longer: SectorCount,
    /// The extents behind it.
    added: Vec<NewExtent>,
}

impl Plan {
    /// The bytes that will be added to files.
    pub(super) fn work(&self) -> ByteLen {
        let longer = self.longer.bytes().map_or(u64::MAX, ByteLen::get);
        let added = self.added.iter().map(|extent| extent.file_len().get());
        ByteLen::new(added.fold(longer, u64::saturating_add))
    }
}

/// How a disk of this kind gets so many more sectors.
pub(super) fn plan(
    disk: &ClosedDisk<'_>,
    kind: DiskKind,
    name: &DiskName,
    more: SectorCount,
) -> Result<Plan, Error> {
    let descriptor = &disk.descriptor;
    let last = descriptor.extents().last().map(|line| line.sectors.get());
    let last = last.unwrap_or(0);
    let room = match kind {
        DiskKind::SplitFlat => SPLIT.get().saturating_sub(last),
        // Only its last grain is filled up: qemu-img 10 misreads extents behind one that ends within a grain. For more,
        // its metadata would have to be built anew, and another extent is as good.
        DiskKind::SplitSparse => {
            let file = last_file(disk)?;
            let shape = SparseShape::load(&*file.storage)?;
            shape.grain.round_up(last).saturating_sub(last)
        }
        _ => u64::MAX,
    };
    let longer = more.get().min(room);
    let rest = SectorCount::new(more.get().saturating_sub(longer));
    let format = match kind {
        DiskKind::SplitSparse => NewFormat::Sparse,
        _ => NewFormat::Flat,
    };
    let known: Vec<&[u8]> = descriptor
        .extents()
        .iter()
        .map(|line| line.name.as_slice())
        .collect();
    let first = descriptor.extents().len().saturating_add(1);
    let mut names = (first..)
        .map(|number| match format {
            NewFormat::Sparse => name.sparse_part(number),
            _ => name.flat_part(number),
        })
        .filter(|name| !known.contains(&name.as_bytes()));
    let added = parts_of(rest).filter_map(|sectors| {
        Some(NewExtent {
            name: names.next()?,
            sectors,
            format,
        })
    });
    Ok(Plan {
        longer: SectorCount::new(longer),
        last: (longer > 0).then(|| SectorCount::new(last.saturating_add(longer))),
        added: added.collect(),
    })
}

/// The file of the last extent. It is locked by its descriptor.
fn last_file(disk: &ClosedDisk<'_>) -> Result<OpenedFile, Error> {
    let line = disk.descriptor.extents().last().ok_or(GrowError::Kind)?;
    let name = disk.descriptor.file_name(line)?;
    match disk.named_file(&name)? {
        Named::Own(own) => Ok(own.file),
        Named::Missing | Named::Foreign => Err(GrowError::Kind.into()),
    }
}

/// Carries a plan out; `rewrite` gets the sizes and lines too.
pub(super) fn grow(
    disk: &mut ClosedDisk<'_>,
    plan: &Plan,
    mut rewrite: Rewrite<'_>,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let gate = disk.gate;
    let index = disk.descriptor.extents().len().saturating_sub(1);
    if let Some(sectors) = plan.last {
        rewrite.extent_size(index, sectors);
    }
    let lines: Vec<String> = plan.added.iter().map(NewExtent::line).collect();
    if !lines.is_empty() {
        rewrite.add_extents(&lines);
    }
    let new = rewrite.finish()?;
    let own = disk.file().path.clone();
    let paths: Vec<PathBuf> = plan
        .added
        .iter()
        .map(|extent| own.with_file_name(&extent.name))
        .collect();
    clear_left_behind(disk, &paths)?;
    for path in &paths {
        if !matches!(
            gate.open_disk(path, FileAccess::Read),
            Err(GateError::NotFound)
        ) {
            return Err(Error::from(GateError::Exists).at(path));
        }
    }
    // From here on, even after a crash, the draft tells which files are new.
    let pending = disk.place.prepare(gate, &new)?;
    let longer = plan.last.map(|sectors| Longer::begin(disk, sectors, work));
    let longer = longer.transpose()?;
    let mut files = NewFiles::new(gate);
    for (extent, path) in plan.added.iter().zip(&paths) {
        let file = files.create(path)?;
        fill(extent, &*file.storage, &[], work).map_err(|error| error.at(path))?;
    }
    gate.sync_folder(&own)?;
    disk.place.put(gate, pending)?;
    files.keep();
    if let Some(longer) = longer {
        longer.keep();
    }
    Ok(gate.sync_folder(&own)?)
}

/// Removes the files that an earlier try has made, as its draft tells, and the disk does not have.
fn clear_left_behind(disk: &ClosedDisk<'_>, paths: &[PathBuf]) -> Result<(), Error> {
    let gate = disk.gate;
    let draft = draft_of(&disk.file().path);
    let file = match open_left_behind(gate, &draft) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.at(&draft)),
    };
    let Ok(text) = Text::read(&*file.storage) else {
        return Ok(());
    };
    if text.descriptor.mark() != disk.descriptor.mark() {
        return Ok(());
    }
    for path in paths {
        let is_named = text
            .descriptor
            .extents()
            .iter()
            .any(|line| path.file_name() == text.descriptor.file_name(line).ok().as_deref());
        if is_named {
            tracing::warn!(file = %path.display(), "what an interrupted change has left is removed");
            remove(gate, path)?;
        }
    }
    Ok(())
}

fn remove(gate: &dyn OpenGate, path: &Path) -> Result<(), Error> {
    match gate.remove(path) {
        Ok(()) | Err(GateError::NotFound) => Ok(()),
        Err(error) => Err(Error::from(error).at(path)),
    }
}

/// The last extent, longer; as it was again unless it is kept.
enum Longer {
    Flat(LongerFile),
    Sparse(FullerGrain),
}

impl Longer {
    /// Makes it longer, durably.
    fn begin(
        disk: &ClosedDisk<'_>,
        sectors: SectorCount,
        work: &mut Work<'_>,
    ) -> Result<Self, Error> {
        let file = last_file(disk)?;
        let path = file.path.clone();
        let line = disk.descriptor.extents().last().ok_or(GrowError::Kind)?;
        let made = if line.kind == ExtentKind::Sparse {
            FullerGrain::begin(file.storage, line.sectors, sectors).map(Self::Sparse)
        } else {
            LongerFile::of(disk, file, line, sectors).and_then(|longer| {
                longer.fill(work)?;
                Ok(Self::Flat(longer))
            })
        };
        made.map_err(|error| error.at(&path))
    }

    fn keep(self) {
        match self {
            Self::Flat(file) => file.keep(),
            Self::Sparse(grain) => grain.keep(),
        }
    }
}

/// A flat file that gets longer; cut again unless it is kept.
struct LongerFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    /// The length of the file so far.
    length: ByteLen,
    /// Where the extent ended, and where it will.
    end: ByteLen,
    new_end: ByteLen,
    is_thin: bool,
    is_kept: bool,
}

impl LongerFile {
    /// The file of an extent that is to have so many sectors.
    fn of(
        disk: &ClosedDisk<'_>,
        file: OpenedFile,
        line: &ExtentLine,
        sectors: SectorCount,
    ) -> Result<Self, Error> {
        let unknown = |error| IoFault::new("asking for the length of the file", error);
        let storage = file.storage;
        let end_of = |sectors: SectorCount| {
            let end = line.offset.checked_add(sectors);
            byte_position(end.unwrap_or(Sector::new(u64::MAX)))
        };
        let is_marked = disk.descriptor.metadata("thinProvisioned").as_deref() == Some("1");
        Ok(Self {
            length: storage.len().map_err(unknown)?,
            end: end_of(line.sectors),
            new_end: end_of(sectors),
            is_thin: is_marked || storage.has_holes().map_err(unknown)?,
            path: file.path,
            storage,
            is_kept: false,
        })
    }

    /// Extends it by zeros, durably.
    fn fill(&self, work: &mut Work<'_>) -> Result<(), Error> {
        let fault = |error| IoFault::new("extending the file", error);
        // What stood behind the end was no part of the disk.
        let rest_end = self.length.min(self.new_end).max(self.end);
        write_zeros(&*self.storage, self.end..rest_end).map_err(fault)?;
        work.advance(ByteLen::new(rest_end.get().saturating_sub(self.end.get())))?;
        if self.is_thin {
            if self.length < self.new_end {
                self.storage.set_len(self.new_end).map_err(fault)?;
            }
            let added = self.new_end.get().saturating_sub(rest_end.get());
            work.advance(ByteLen::new(added))?;
        } else {
            take_space(&*self.storage, rest_end..self.new_end, work)?;
        }
        self.storage
            .sync_data()
            .map_err(|error| fault(error).into())
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for LongerFile {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.storage.set_len(self.length)
        {
            tracing::warn!(file = %self.path.display(), %error, "a file stays longer than its disk needs");
        }
    }
}
