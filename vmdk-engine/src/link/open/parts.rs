//! Opening the files that the extent lines name, and comparing each with its line.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use disk_units::{Sector, SectorCount};

use super::error::LinkError;
use super::partitions::Partitions;
use crate::descriptor::{Access, Descriptor, ExtentKind, ExtentLine};
use crate::disk::OpenOptions;
use crate::error::Error;
use crate::extent::cowd;
use crate::extent::header::{HeaderError, SparseShape};
use crate::extent::sesparse::SeSparseShape;
use crate::fuse::Fuse;
use crate::gate::{ExtentRefused, FileAccess, FileIdentity, OpenedFile};
use crate::lock::FileLock;
use crate::storage::pool::{FilePool, Reopen};

/// An extent whose file is open and checked, but whose caches do not exist yet.
pub(super) struct Part {
    pub(super) size: SectorCount,
    pub(super) format: Format,
    pub(super) file: Option<OpenedFile>,
    pub(super) is_writable: bool,
}

impl Part {
    pub(super) fn is_stream(&self) -> bool {
        matches!(&self.format, Format::Sparse(shape) if shape.is_compressed)
    }
}

pub(super) enum Format {
    Flat { first: Sector },
    Sparse(SparseShape),
    SeSparse(SeSparseShape),
    Zero,
    Forbidden,
}

/// What opening the extents of one descriptor needs.
pub(super) struct Opening<'a> {
    disk: &'a OpenedFile,
    pub(super) descriptor: &'a Descriptor,
    options: &'a OpenOptions,
    files: Arc<FilePool>,
    /// What the lines so far name.
    seen: BTreeSet<FileIdentity>,
    pub(super) fuse: Arc<Fuse>,
    pub(super) locks: Vec<FileLock>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(
        disk: &'a OpenedFile,
        descriptor: &'a Descriptor,
        options: &'a OpenOptions,
        files: &Arc<FilePool>,
    ) -> Self {
        Self {
            disk,
            descriptor,
            options,
            files: Arc::clone(files),
            seen: BTreeSet::new(),
            fuse: Arc::default(),
            locks: Vec::new(),
        }
    }

    /// The one extent in the file of the descriptor itself, or in one that does without. The name in its line does not
    /// matter: files are renamed.
    pub(super) fn embedded(&mut self, mut shape: SparseShape) -> Result<Part, Error> {
        let kind = match shape.descriptor {
            Some(_) => ExtentKind::Sparse,
            None => ExtentKind::VmfsSparse,
        };
        let line = match self.descriptor.extents() {
            [line] if line.kind == kind && line.access != Access::None => line,
            _ => return Err(LinkError::EmbeddedExtents.into()),
        };
        if self.options.is_writable() {
            self.check_writable(&mut shape)?;
        }
        check_size(line, &shape)?;
        Ok(Part {
            size: line.sectors,
            format: Format::Sparse(shape),
            file: Some(self.disk.clone()),
            is_writable: self.options.is_writable() && line.access == Access::ReadWrite,
        })
    }

    /// The extents in files of their own.
    pub(super) fn named_extents(&mut self) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let mut partitions = Partitions::of(self.descriptor);
        for line in self.descriptor.extents() {
            let part = self.named_extent(line, &mut partitions)?;
            if let Some(file) = &part.file
                && !partitions.take(&part, file)
                && self.options.is_writable()
            {
                return Err(LinkError::SameFileTwice.into());
            }
            if !part.size.is_zero() {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn named_extent(
        &mut self,
        line: &ExtentLine,
        partitions: &mut Partitions,
    ) -> Result<Part, Error> {
        let part = |format, file, is_writable| Part {
            size: line.sectors,
            format,
            file,
            is_writable,
        };
        let may_write = self.options.is_writable() && line.access == Access::ReadWrite;
        match line.kind {
            ExtentKind::Zero => return Ok(part(Format::Zero, None, may_write)),
            _ if line.access == Access::None => {
                return Ok(part(Format::Forbidden, None, self.options.is_writable()));
            }
            _ => {}
        }
        let access = if may_write {
            FileAccess::ReadWrite
        } else {
            FileAccess::Read
        };
        let name = self.descriptor.file_name(line)?;
        if line.kind.is_device() {
            self.check_device(line, &name, may_write)?;
        }
        let file = partitions.open(line, access, || self.open_extent(name, access))?;
        self.lock(&file, may_write)?;
        let format = match line.kind {
            ExtentKind::Flat | ExtentKind::Vmfs | ExtentKind::VmfsRaw | ExtentKind::VmfsRdm => {
                Format::Flat { first: line.offset }
            }
            ExtentKind::Sparse | ExtentKind::VmfsSparse | ExtentKind::SeSparse => self
                .load_shape(line, &file, may_write)
                .map_err(|error| error.at(&file.path))?,
            ExtentKind::Zero => Format::Zero,
        };
        Ok(part(format, Some(file), may_write))
    }

    /// Off the host that wrote it, such a name leads to a file that only points to the device there, or to another
    /// device.
    fn check_device(
        &self,
        line: &ExtentLine,
        name: &OsStr,
        may_write: bool,
    ) -> Result<(), LinkError> {
        let keyword = line.kind.keyword();
        if !self.options.open_gate().allows_device(name) {
            return Err(LinkError::Device(keyword));
        }
        if may_write {
            return Err(LinkError::ReadOnlyDevice(keyword));
        }
        Ok(())
    }

    fn open_extent(&self, name: OsString, access: FileAccess) -> Result<OpenedFile, Error> {
        self.files.make_room();
        let gate = self.options.shared_gate();
        let mut file = gate
            .open_extent(&self.disk.path, &name, access)
            .map_err(|error| ExtentRefused::new(&name, error))?;
        let reopen = || -> Reopen {
            let disk = self.disk.path.clone();
            let identity = file.identity;
            Box::new(move || {
                let file = gate.open_extent(&disk, &name, access)?;
                if file.identity != identity {
                    return Err(io::Error::other(
                        "another file has taken the place of this one since the disk was opened",
                    ));
                }
                Ok(file.storage)
            })
        };
        file.storage = self.files.adopt(Arc::clone(&file.storage), reopen);
        Ok(file)
    }

    /// Before anything in the file is looked at: what a writer leaves unfinished is none of our business.
    fn lock(&mut self, file: &OpenedFile, is_written: bool) -> Result<(), Error> {
        if file.identity == self.disk.identity {
            return Err(LinkError::SameFileTwice.into());
        }
        if self.seen.insert(file.identity) {
            // Another descriptor may name it too.
            self.locks.push(self.options.lock(file, is_written)?);
        }
        Ok(())
    }

    fn load_shape(
        &self,
        line: &ExtentLine,
        file: &OpenedFile,
        may_write: bool,
    ) -> Result<Format, Error> {
        let storage = &*file.storage;
        let mut shape = match line.kind {
            ExtentKind::SeSparse => {
                let shape = SeSparseShape::load(storage)?;
                check_equal_size(line, shape.capacity)?;
                if may_write {
                    return Err(LinkError::ReadOnlySeSparse.into());
                }
                return Ok(Format::SeSparse(shape));
            }
            ExtentKind::VmfsSparse => {
                let shape = cowd::load(storage)?;
                check_equal_size(line, shape.capacity)?;
                shape
            }
            _ => {
                let shape = SparseShape::load(storage)?;
                check_size(line, &shape)?;
                shape
            }
        };
        if may_write {
            self.check_writable(&mut shape)?;
        }
        Ok(Format::Sparse(shape))
    }

    fn check_writable(&self, shape: &mut SparseShape) -> Result<(), HeaderError> {
        if self.descriptor.tracks_changes() {
            shape.permit_tracked();
        }
        shape.check_writable()
    }
}

/// ESX keeps both sizes equal.
fn check_equal_size(line: &ExtentLine, header: SectorCount) -> Result<(), LinkError> {
    if line.sectors == header {
        return Ok(());
    }
    let (line, header) = (line.sectors.get(), header.get());
    Err(LinkError::SizesDiffer { line, header })
}

fn check_size(line: &ExtentLine, shape: &SparseShape) -> Result<(), LinkError> {
    if shape.grain.agree(line.sectors, shape.capacity) {
        return Ok(());
    }
    let (line, header) = (line.sectors.get(), shape.capacity.get());
    Err(LinkError::SizesDiffer { line, header })
}
