//! Giving disks other names.
//!
//! The new descriptor is written first, as a draft that tells what goes where. Then the extents move, then the draft
//! takes its place, then the old descriptor goes. After a crash in between, doing it again finds the draft and goes on.
//!
//! The draft on the way to `disk.vmdk` is `disk.vmdk.moving`, so that nobody takes it, or the files that it names, for
//! what is left of a disk that never came to be.

mod plan;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use disk_units::ByteLen;

use self::plan::{Move, Plan};
use crate::closed::ClosedDisk;
use crate::create::{DiskName, way_to};
use crate::descriptor::{Descriptor, Rewrite};
use crate::draft::{make_draft_at, open_left_behind};
use crate::error::{Cause, Error, ErrorKind, IoFault, Operation};
use crate::fuse::Fuse;
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::link::Text;

/// Why a disk does not get another name.
#[derive(Debug, thiserror::Error)]
enum RenameError {
    #[error("it is not a child of the disk that is renamed")]
    NotAChild,
}

impl Cause for RenameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotAChild
    }
}

/// Gives a disk another name, in its folder or in another one of the same file system.
///
/// Extents whose names begin as that of the disk does get new names with it, and so do the files that track its changes;
/// others keep theirs. A child that is renamed goes on finding its parent. The children of the renamed disk find it
/// again if they are named in `children`; nothing tells which ones there are. None of these disks may be open.
///
/// No file is overwritten, and a failure leaves everything under its old name, as far as that can be undone. Else, and
/// after a crash, the disk has its old name or its new one, or doing it again finishes it; a disk under its new name
/// alone is done. Until then a file with the suffix `.moving` tells what goes where, and keeps the new name from other
/// disks once it may have been followed.
///
/// # Errors
/// By [`kind`](Error::kind): [`NotFound`](ErrorKind::NotFound), [`AlreadyExists`](ErrorKind::AlreadyExists),
/// [`AlreadyLocked`](ErrorKind::AlreadyLocked); [`ExtentNotFound`](ErrorKind::ExtentNotFound);
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for names that the descriptors cannot hold;
/// [`NotAChild`](ErrorKind::NotAChild) for children that are none of this disk; [`Unsupported`](ErrorKind::Unsupported)
/// for a move to another folder of a disk with files in folders below its own; [`Io`](ErrorKind::Io) for one to another
/// file system; and those of reading descriptors.
///
/// ```
/// use vmdk_engine::{CreateOptions, Disk, DiskKind, FolderGate, SectorCount, rename, unwatched};
///
/// # let scratch = tempfile::tempdir()?;
/// # let folder = scratch.path();
/// let options = CreateOptions::new(DiskKind::MonolithicFlat, SectorCount::new(2048));
/// Disk::create(folder.join("old.vmdk"), &options, &mut unwatched)?.close()?;
/// rename(folder.join("old.vmdk"), folder.join("new.vmdk"), &[], &FolderGate)?;
/// assert!(folder.join("new-flat.vmdk").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rename(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    children: &[&Path],
    gate: &dyn OpenGate,
) -> Result<(), Error> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rename_all(from, to, children, gate)
        .map_err(|error| error.at(from).during(Operation::Rename, None))
}

fn rename_all(
    from: &Path,
    to: &Path,
    children: &[&Path],
    gate: &dyn OpenGate,
) -> Result<(), Error> {
    DiskName::of(to)?;
    let mut disk = ClosedDisk::open(gate, from)?;
    let draft = Draft::take(gate, to)?;
    let result = rename_with(&mut disk, &draft, children);
    // Unless some files could not be brought back.
    if !matches!(
        &result,
        Err(Failure {
            is_undone: false,
            ..
        })
    ) {
        draft.remove();
    }
    result.map_err(|failure| failure.error)
}

/// A rename that did not come to its end.
struct Failure {
    error: Error,
    /// Whether everything is as it was.
    is_undone: bool,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            is_undone: true,
        }
    }
}

fn rename_with(
    disk: &mut ClosedDisk<'_>,
    draft: &Draft<'_>,
    children: &[&Path],
) -> Result<(), Failure> {
    let gate = disk.gate;
    let old_path = disk.file().path.clone();
    let new_path = draft.target();
    let mut plan = Plan::new(disk, &new_path)?;
    let is_going_on = draft.holds(plan.descriptor.as_bytes());
    let taken = gate.open_disk(&new_path, FileAccess::Read);
    match taken {
        Err(GateError::NotFound) => {}
        Ok(file) if plan.is_done(gate, disk, &file) => {
            return Ok(finish(gate, &old_path, &new_path)?);
        }
        _ => return Err(Error::from(GateError::Exists).at(&new_path).into()),
    }
    if !is_going_on && draft.tells_of_files(&disk.descriptor) {
        return Err(Error::from(GateError::Exists).at(&draft.file.path).into());
    }
    let mut moves = plan.moves(gate, is_going_on)?;
    if disk.is_one_file() {
        moves.push(Move::of(&old_path, &new_path));
    }
    let mut children = Children::prepare(gate, children, disk, &new_path)?;
    let moved = children.point_to_new().and_then(|()| {
        if disk.is_one_file() {
            // It has told where the disk goes, and holds nothing.
            draft.remove();
            move_one_file(disk, &plan, &moves)
        } else {
            draft.write(plan.descriptor.as_bytes())?;
            move_files(gate, &moves, &draft.file.path, &new_path)
        }
    });
    match moved {
        // The old name is no longer ours.
        Ok(()) if disk.is_one_file() => Ok(()),
        Ok(()) => Ok(finish(gate, &old_path, &new_path)?),
        Err(error) => {
            let is_undone = undo(gate, &moves) && children.point_to_old();
            Err(Failure { error, is_undone })
        }
    }
}

/// Moves a disk in one file, whose text names that file for information only.
fn move_one_file(disk: &mut ClosedDisk<'_>, plan: &Plan, moves: &[Move]) -> Result<(), Error> {
    let gate = disk.gate;
    make_all(gate, moves)?;
    if !disk.place.is_embedded() {
        return Ok(());
    }
    let old = disk.descriptor.clone();
    match disk
        .place
        .replace(gate, &Fuse::default(), &old, &plan.descriptor)
    {
        Err(error) => {
            tracing::warn!(%error, "a renamed file goes on naming itself by its old name");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn move_files(
    gate: &dyn OpenGate,
    moves: &[Move],
    draft: &Path,
    new_path: &Path,
) -> Result<(), Error> {
    make_all(gate, moves)?;
    gate.rename(draft, new_path)
        .map_err(|error| Error::from(error).at(new_path))?;
    Ok(())
}

/// Gives files their new names, durably.
fn make_all(gate: &dyn OpenGate, moves: &[Move]) -> Result<(), Error> {
    for one in moves {
        one.make(gate)?;
    }
    for one in moves {
        sync_folders(gate, &one.from, &one.to)?;
    }
    Ok(())
}

/// Moves back what was moved; whether all of it is back.
fn undo(gate: &dyn OpenGate, moves: &[Move]) -> bool {
    let mut is_undone = true;
    for one in moves.iter().rev() {
        is_undone &= one.undo(gate);
    }
    is_undone
}

/// Removes the old descriptor, if it is there still.
fn finish(gate: &dyn OpenGate, old: &Path, new: &Path) -> Result<(), Error> {
    gate.sync_folder(new)?;
    match gate.remove(old) {
        Ok(()) | Err(GateError::NotFound) => Ok(gate.sync_folder(old)?),
        Err(error) => Err(Error::from(error).at(old)),
    }
}

fn sync_folders(gate: &dyn OpenGate, from: &Path, to: &Path) -> Result<(), Error> {
    gate.sync_folder(to)?;
    if from.parent() != to.parent() {
        gate.sync_folder(from)?;
    }
    Ok(())
}

/// The draft of the new descriptor: made now, or left behind by an earlier try.
struct Draft<'a> {
    gate: &'a dyn OpenGate,
    file: OpenedFile,
    name: &'a OsStr,
    /// Whether it is ours, so that it goes when this ends.
    is_ours: Cell<bool>,
}

impl<'a> Draft<'a> {
    fn take(gate: &'a dyn OpenGate, to: &'a Path) -> Result<Self, Error> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".moving");
        let path = to.with_file_name(name);
        let (file, is_ours) = match open_left_behind(gate, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (make_draft_at(gate, &path)?, true)
            }
            result => {
                let file = result.map_err(|error| error.at(&path))?;
                let is_empty = file.storage.is_empty();
                (file, is_empty.unwrap_or(false))
            }
        };
        Ok(Self {
            gate,
            file,
            name: to.file_name().unwrap_or_default(),
            is_ours: Cell::new(is_ours),
        })
    }

    /// Where the disk goes.
    fn target(&self) -> PathBuf {
        self.file.path.with_file_name(self.name)
    }

    /// Whether it has this text already.
    fn holds(&self, text: &[u8]) -> bool {
        let mut there = vec![0; text.len()];
        let storage = &self.file.storage;
        let has_length = |length: ByteLen| usize::try_from(length.get()) == Ok(text.len());
        let holds = storage.len().is_ok_and(has_length)
            && storage.read_exact_at(&mut there, ByteLen::ZERO).is_ok()
            && there == text;
        if holds {
            self.is_ours.set(true);
        }
        holds
    }

    /// Whether an interrupted rename of another disk has brought files here, of which only this tells.
    fn tells_of_files(&self, disk: &Descriptor) -> bool {
        let Ok(text) = Text::read(&*self.file.storage) else {
            return false;
        };
        let names = |descriptor: &Descriptor| -> Vec<OsString> {
            let lines = descriptor.extents().iter();
            let names = lines.filter_map(|line| descriptor.file_name(line).ok());
            names.filter(|name| !name.is_empty()).collect()
        };
        let known = names(disk);
        let is_there = |name: &OsString| {
            let opened = self
                .gate
                .open_extent(&self.file.path, name, FileAccess::Read);
            opened.is_ok()
        };
        let unknown = names(&text.descriptor).into_iter();
        unknown
            .filter(|name| !known.contains(name))
            .any(|name| is_there(&name))
    }

    /// Writes the text, durably: from now on it tells what goes where.
    fn write(&self, text: &[u8]) -> Result<(), Error> {
        if !self.holds(text) {
            self.is_ours.set(true);
            let storage = &self.file.storage;
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            storage
                .write_all_at(text, ByteLen::ZERO)
                .and_then(|()| storage.set_len(ByteLen::new(length)))
                .and_then(|()| storage.sync_data())
                .map_err(|error| IoFault::new("writing the descriptor", error))?;
        }
        Ok(self.gate.sync_folder(&self.file.path)?)
    }

    /// Removes it, unless it has its place by now.
    fn remove(&self) {
        if !self.is_ours.get() {
            return;
        }
        match self.gate.remove(&self.file.path) {
            Ok(()) | Err(GateError::NotFound) => {}
            Err(error) => tracing::warn!(%error, "a draft that is of no use stays"),
        }
    }
}

/// A child of the disk that is renamed.
struct Child<'a> {
    disk: ClosedDisk<'a>,
    /// What it says from now on.
    new: Descriptor,
    is_changed: bool,
}

/// The children of the disk that were named.
struct Children<'a>(Vec<Child<'a>>);

impl<'a> Children<'a> {
    fn prepare(
        gate: &'a dyn OpenGate,
        paths: &[&Path],
        disk: &ClosedDisk<'_>,
        new_path: &Path,
    ) -> Result<Self, Error> {
        let mut children = Vec::with_capacity(paths.len());
        for path in paths {
            let child = ClosedDisk::open(gate, path)?;
            let mark = child.descriptor.parent().map(|parent| parent.mark);
            if mark.is_none() || mark != disk.descriptor.mark() {
                return Err(Error::from(RenameError::NotAChild).at(path));
            }
            let hint = way_to(&child.file().path, new_path);
            let mut rewrite = Rewrite::new(&child.descriptor);
            rewrite.name("parentFileNameHint", hint.as_os_str())?;
            children.push(Child {
                new: rewrite.finish()?,
                disk: child,
                is_changed: false,
            });
        }
        Ok(Self(children))
    }

    /// Lets them say where their parent will be.
    fn point_to_new(&mut self) -> Result<(), Error> {
        for Child {
            disk,
            new,
            is_changed,
        } in &mut self.0
        {
            if disk.descriptor.as_bytes() != new.as_bytes() {
                let old = disk.descriptor.clone();
                // It may be even where this fails.
                *is_changed = true;
                disk.place.replace(disk.gate, &Fuse::default(), &old, new)?;
            }
        }
        Ok(())
    }

    /// Lets them say again where it was; whether all do.
    fn point_to_old(&mut self) -> bool {
        let mut is_undone = true;
        for Child {
            disk,
            new,
            is_changed,
        } in self.0.iter_mut().filter(|child| child.is_changed)
        {
            let old = disk.descriptor.clone();
            match disk.place.replace(disk.gate, &Fuse::default(), new, &old) {
                Ok(()) => *is_changed = false,
                Err(error) => {
                    tracing::warn!(%error, "a child looks for its parent under a name that it did not get");
                    is_undone = false;
                }
            }
        }
        is_undone
    }
}
