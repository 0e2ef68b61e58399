//! What a rename does: the new text, and which file goes where.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::closed::{ClosedDisk, Named, OwnFile};
use crate::create::{DiskName, base_of, way_to};
use crate::descriptor::{Descriptor, Rewrite};
use crate::error::{Cause, Error, ErrorKind};
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::link::Text;
use crate::unlink::companions;

/// Why a disk cannot be moved.
#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error("its file \"{0}\" is missing")]
    Missing(String),
    #[error("its file \"{0}\" lies in another folder, and cannot go with it")]
    Elsewhere(String),
}

impl Cause for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::ExtentNotFound,
            Self::Elsewhere(_) => ErrorKind::Unsupported,
        }
    }
}

/// A file that gets another name or folder.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    is_made: Cell<bool>,
    _lock: Option<OwnFile>,
}

impl Move {
    /// That of a file that is locked elsewhere.
    pub(super) fn of(from: &Path, to: &Path) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            is_made: Cell::new(false),
            _lock: None,
        }
    }

    pub(super) fn make(&self, gate: &dyn OpenGate) -> Result<(), Error> {
        if !self.is_made.get() {
            gate.rename(&self.from, &self.to)
                .map_err(|error| Error::from(error).at(&self.to))?;
            self.is_made.set(true);
        }
        Ok(())
    }

    /// Moves the file back; whether it is where it was.
    pub(super) fn undo(&self, gate: &dyn OpenGate) -> bool {
        if self.is_made.get() {
            match gate.rename(&self.to, &self.from) {
                Ok(()) => self.is_made.set(false),
                Err(error) => {
                    tracing::warn!(file = %self.to.display(), %error, "a file cannot be brought back");
                }
            }
        }
        !self.is_made.get()
    }
}

/// A file of the disk, by its names.
#[derive(Debug)]
struct Renamed {
    old_name: OsString,
    from: PathBuf,
    to: PathBuf,
    found: Option<OwnFile>,
    is_needed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the disk says under its new name.
    pub(super) descriptor: Descriptor,
    files: Vec<Renamed>,
}

impl Plan {
    pub(super) fn new(disk: &ClosedDisk<'_>, new_path: &Path) -> Result<Self, Error> {
        let old_path = &disk.file().path;
        let new_name = DiskName::of(new_path)?;
        let old_base = old_path.file_name().and_then(OsStr::to_str).map(base_of);
        let renamed = |name: &OsStr| match (old_base, name.to_str()) {
            (Some(old_base), Some(name)) => with_base(name, old_base, &new_name.base).into(),
            _ => name.to_owned(),
        };
        let descriptor = &disk.descriptor;
        let mut rewrite = Rewrite::new(descriptor);
        let mut names = Vec::new();
        if disk.is_one_file() {
            rewrite.extent_name(0, OsStr::new(&new_name.file))?;
        } else {
            for (index, line) in descriptor.extents().iter().enumerate() {
                if !line.name.is_empty() {
                    let name = descriptor.file_name(line)?;
                    rewrite.extent_name(index, &renamed(&name))?;
                    names.push((name, true));
                }
            }
        }
        if let Some(list) = descriptor.change_list() {
            rewrite.name("changeTrackPath", &renamed(&list))?;
        }
        let parent = descriptor
            .parent()
            .map(|parent| parent.file_name())
            .transpose()?;
        if let Some(hint) = parent.flatten()
            && let Some(hint) = moved_hint(&hint, old_path, new_path)
        {
            rewrite.name("parentFileNameHint", hint.as_os_str())?;
        }
        names.extend(companions(disk).into_iter().map(|name| (name, false)));
        let mut files: Vec<Renamed> = Vec::new();
        for (old_name, is_needed) in names {
            let to = renamed(&old_name);
            if files.iter().all(|file| file.old_name != old_name) {
                files.extend(file_of(disk, new_path, old_name, &to, is_needed)?);
            }
        }
        Ok(Self {
            descriptor: rewrite.finish()?,
            files,
        })
    }

    /// The files to move. If an earlier try is gone on with, some of them may be where they belong.
    pub(super) fn moves(
        &mut self,
        gate: &dyn OpenGate,
        is_going_on: bool,
    ) -> Result<Vec<Move>, Error> {
        let mut moves = Vec::new();
        for file in self.files.drain(..) {
            let is_taken = exists(gate, &file.to);
            let is_made = match file.found {
                Some(_) if is_taken => return Err(Error::from(GateError::Exists).at(&file.to)),
                Some(_) => false,
                None if is_going_on && is_taken => true,
                None if file.is_needed => {
                    let name = file.old_name.to_string_lossy().into_owned();
                    return Err(PlanError::Missing(name).into());
                }
                None => continue,
            };
            moves.push(Move {
                from: file.from,
                to: file.to,
                is_made: Cell::new(is_made),
                _lock: file.found,
            });
        }
        Ok(moves)
    }

    /// Whether an earlier try came as far as to the new descriptor, and only the old one is left to remove.
    pub(super) fn is_done(
        &self,
        gate: &dyn OpenGate,
        disk: &ClosedDisk<'_>,
        there: &OpenedFile,
    ) -> bool {
        if disk.is_one_file() || there.identity == disk.file().identity {
            return false;
        }
        let Ok(text) = Text::read(&*there.storage) else {
            return false;
        };
        let lines = |descriptor: &Descriptor| -> Vec<(u64, Vec<u8>)> {
            let lines = descriptor.extents().iter();
            lines
                .map(|line| (line.sectors.get(), line.name.clone()))
                .collect()
        };
        let is_same = lines(&text.descriptor) == lines(&self.descriptor)
            && text.descriptor.mark() == self.descriptor.mark();
        let are_moved = self
            .files
            .iter()
            .filter(|file| file.is_needed)
            .all(|file| file.found.is_none() && exists(gate, &file.to));
        is_same && are_moved
    }
}

/// What becomes of a file that the descriptor names; `None` if it stays as it is.
fn file_of(
    disk: &ClosedDisk<'_>,
    new_path: &Path,
    old_name: OsString,
    new_name: &OsStr,
    is_needed: bool,
) -> Result<Option<Renamed>, Error> {
    if Path::new(&old_name).is_absolute() {
        return Ok(None);
    }
    let old_path = &disk.file().path;
    let stays = old_path.parent() == new_path.parent();
    let found = match disk.named_file(&old_name)? {
        Named::Own(file) => Some(file),
        Named::Missing => None,
        Named::Foreign => return Ok(None),
    };
    let from = match &found {
        Some(file) => file.file.path.clone(),
        None => old_path.with_file_name(&old_name),
    };
    if from.parent() != old_path.parent() {
        if stays || !is_needed {
            return Ok(None);
        }
        let name = old_name.to_string_lossy().into_owned();
        return Err(PlanError::Elsewhere(name).into());
    }
    let to = new_path.with_file_name(new_name);
    let renamed = Renamed {
        old_name,
        from,
        to,
        found,
        is_needed,
    };
    Ok((renamed.from != renamed.to).then_some(renamed))
}

/// The name of a file of a disk whose own name begins otherwise now.
fn with_base(name: &str, old_base: &str, new_base: &str) -> String {
    match name.strip_prefix(old_base) {
        Some(rest) if rest.starts_with(['-', '.']) => format!("{new_base}{rest}"),
        _ => name.to_owned(),
    }
}

/// The way to the parent from the child's new folder, where that is another.
fn moved_hint(hint: &OsStr, old_path: &Path, new_path: &Path) -> Option<PathBuf> {
    let (old_folder, new_folder) = (old_path.parent()?, new_path.parent()?);
    // A name of another system is looked for by its last part, wherever the child is.
    let is_foreign = hint
        .as_bytes()
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'['));
    if old_folder == new_folder || is_foreign || Path::new(hint).is_absolute() {
        return None;
    }
    let mut parent = PathBuf::new();
    for part in old_folder.join(hint).components() {
        match part {
            std::path::Component::ParentDir => drop(parent.pop()),
            std::path::Component::CurDir => {}
            part => parent.push(part),
        }
    }
    Some(way_to(new_path, &parent))
}

fn exists(gate: &dyn OpenGate, path: &Path) -> bool {
    !matches!(
        gate.open_disk(path, FileAccess::Read),
        Err(GateError::NotFound)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leading_bases_of_the_disk_itself_change() {
        for (name, expected) in [
            ("a-flat.vmdk", "b-flat.vmdk"),
            ("a.vmdk", "b.vmdk"),
            ("a-a-s001.vmdk", "b-a-s001.vmdk"),
            ("ab-flat.vmdk", "ab-flat.vmdk"),
            ("x-a-flat.vmdk", "x-a-flat.vmdk"),
            ("a", "a"),
        ] {
            assert_eq!(with_base(name, "a", "b"), expected);
        }
    }

    #[test]
    fn a_moved_child_finds_its_parent() {
        for (hint, new_path, expected) in [
            ("base.vmdk", "/vm/x.vmdk", None),
            ("base.vmdk", "/clone/x.vmdk", Some("../vm/base.vmdk")),
            (
                "../base/b.vmdk",
                "/vm/sub/x.vmdk",
                Some("../../base/b.vmdk"),
            ),
            ("../base/b.vmdk", "/base/x.vmdk", Some("b.vmdk")),
            ("/abs/b.vmdk", "/clone/x.vmdk", None),
            (r"C:\vm\b.vmdk", "/clone/x.vmdk", None),
        ] {
            let moved = moved_hint(
                OsStr::new(hint),
                Path::new("/vm/c.vmdk"),
                Path::new(new_path),
            );
            assert_eq!(moved.as_deref(), expected.map(Path::new), "{hint}");
        }
    }
}
