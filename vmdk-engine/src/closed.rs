//! A disk that is not open, for changes to its files as a whole: its descriptor, with everybody else kept out.

use std::ffi::OsStr;
use std::path::Path;

use crate::descriptor::Descriptor;
use crate::descriptor_file::DescriptorFile;
use crate::error::Error;
use crate::extent::header::SparseShape;
use crate::gate::{ExtentRefused, FileAccess, GateError, OpenGate, OpenedFile};
use crate::link::Text;
use crate::lock::{FileLock, InUse};

/// A descriptor and its lock.
#[derive(Debug)]
pub(crate) struct ClosedDisk<'a> {
    pub(crate) gate: &'a dyn OpenGate,
    pub(crate) place: DescriptorFile,
    pub(crate) descriptor: Descriptor,
    /// The extent around the descriptor.
    pub(crate) shape: Option<SparseShape>,
    _lock: FileLock,
}

impl<'a> ClosedDisk<'a> {
    /// Opens and locks the file with the descriptor.
    pub(crate) fn open(gate: &'a dyn OpenGate, path: &Path) -> Result<Self, Error> {
        let file = gate.open_disk(path, FileAccess::ReadWrite);
        let file = file.map_err(|error| Error::from(error).at(path))?;
        let lock = FileLock::exclusive(gate, &file)?;
        if !file.is_at(gate, path)? {
            return Err(Error::from(InUse).at(path));
        }
        Self::of(gate, file, lock).map_err(|error| error.at(path))
    }

    /// The same for a file that is open and locked already.
    pub(crate) fn of(
        gate: &'a dyn OpenGate,
        file: OpenedFile,
        lock: FileLock,
    ) -> Result<Self, Error> {
        let text = Text::read(&*file.storage)?;
        Ok(Self {
            gate,
            place: DescriptorFile::new(file, text.start, text.embedded_in.as_ref()),
            descriptor: text.descriptor,
            shape: text.embedded_in,
            _lock: lock,
        })
    }

    /// The file of the descriptor.
    pub(crate) fn file(&self) -> &OpenedFile {
        self.place.file()
    }

    /// Whether the descriptor is in the file of the only extent, or stands for one.
    pub(crate) fn is_one_file(&self) -> bool {
        self.shape.is_some()
    }

    /// Opens and locks a file that the descriptor names.
    pub(crate) fn named_file(&self, name: &OsStr) -> Result<Named, Error> {
        let own = self.file();
        if self.gate.allows_device(name) {
            return Ok(Named::Foreign);
        }
        let opened = self
            .gate
            .open_extent(&own.path, name, FileAccess::ReadWrite);
        let file = match opened {
            Ok(file) if file.identity == own.identity => return Ok(Named::Foreign),
            Ok(file) => file,
            Err(GateError::NotFound) => return Ok(Named::Missing),
            Err(
                error @ (GateError::Outside(_)
                | GateError::Device(_)
                | GateError::NotRegular
                | GateError::BadName),
            ) => {
                tracing::warn!(?name, %error, "a file that the descriptor names is left alone");
                return Ok(Named::Foreign);
            }
            Err(error) => return Err(ExtentRefused::new(name, error).into()),
        };
        let lock = FileLock::exclusive(self.gate, &file)?;
        Ok(Named::Own(OwnFile { file, _lock: lock }))
    }
}

/// What a name in a descriptor leads to.
#[derive(Debug)]
pub(crate) enum Named {
    /// A file of the disk.
    Own(OwnFile),
    Missing,
    /// Nothing that belongs to the disk alone: a device, a file elsewhere, or the descriptor itself.
    Foreign,
}

/// A file of a disk, locked.
#[derive(Debug)]
pub(crate) struct OwnFile {
    pub(crate) file: OpenedFile,
    _lock: FileLock,
}

impl OwnFile {
    /// Whether it is a disk by itself, whoever else names it.
    pub(crate) fn is_disk(&self) -> bool {
        Text::read(&*self.file.storage).is_ok()
    }

    /// The same for a file that an extent line names. Copy-on-write deltas could all be opened by themselves; such a
    /// line makes them a part.
    pub(crate) fn is_disk_and_no_delta(&self) -> bool {
        Text::read(&*self.file.storage).is_ok_and(|text| text.is_written())
    }
}
