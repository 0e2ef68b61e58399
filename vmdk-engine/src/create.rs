//! Making new disks.
//!
//! A disk comes to be in an order that no crash can make wrong: its descriptor is written as a draft, then the files of
//! its extents come, and only when all of them are durable the descriptor takes its place. A disk in one file is a
//! draft as a whole until then.

mod child;
mod fill;
mod hint;
mod ids;
mod layout;
mod names;
mod options;
mod plan;
mod stream;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{ByteLen, SectorCount};

use self::child::ParentOf;
use self::text::NewParent;
use crate::disk::{Disk, OpenOptions};
use crate::draft::{NewFiles, make_draft};
use crate::error::{Error, ErrorKind, IoFault, Operation};
use crate::gate::{FileAccess, GateError, OpenGate, OpenedFile};
use crate::info::DiskKind;
use crate::link::{Link, SharedCaches};
use crate::progress::{Watcher, Work};
use crate::unlink::Removal;

pub(crate) use fill::{fill, take_space};
pub(crate) use hint::way_to;
pub(crate) use ids::ContentId;
pub(crate) use names::{DiskName, base_of};
pub use options::CreateOptions;
pub(crate) use plan::{NewExtent, NewFormat, SPLIT, check_size, parts_of};
pub(crate) use text::NewText;

impl Disk {
    /// Makes a disk of zeros, and opens it for writing.
    ///
    /// `path` is the name of its descriptor, and the files of its extents get their names from that: without `.vmdk`,
    /// but with `-flat.vmdk`, or `-s001.vmdk` and `-f001.vmdk` for files of 2047 MiB. Files of flat disks get space for
    /// all of their sectors, which takes time where the file system has no faster way than to write zeros; those of
    /// sparse and thin disks do not. While it lasts there is a file with the suffix `.draft`.
    ///
    /// No file is ever overwritten: if one of the names is taken, nothing is made. If it fails, is cancelled by the
    /// `watcher`, or ends in a crash of this process that is caught, what was made is removed. After a crash of the
    /// machine there is the whole disk, or none; what may be left of its files [`unlink`](crate::unlink()) removes.
    ///
    /// A [`StreamOptimized`](DiskKind::StreamOptimized) disk is written once, from its first sector to its last, in whole
    /// grains of 128 sectors of which the last may be cut by the end of the disk; grains of zeros may be left out. Until
    /// it is closed nothing can be read from it. One that is dropped without being closed is incomplete, and refused by
    /// all who open it.
    ///
    /// Capacities of any number of sectors are possible; multiples of 128 sectors (64 KiB) are best, as other programs
    /// know few others.
    ///
    /// # Errors
    /// By [`kind`](Error::kind): [`InvalidArgument`] for a capacity of 0, for a name that no descriptor can hold (with
    /// quotes, line ends, or not in UTF-8), and as [`CreateOptions`] says; [`FileTooBig`] for more sectors than the kind
    /// or the file system can have; [`Unsupported`] for the kinds of disks that only ESX hosts make;
    /// [`AlreadyExists`], and [`AlreadyLocked`] if somebody is making it; [`Cancelled`]; [`NotFound`],
    /// [`PermissionDenied`], [`DiskFull`] and [`Io`] from the file system; and all of [`Disk::open`].
    ///
    /// [`InvalidArgument`]: ErrorKind::InvalidArgument
    /// [`FileTooBig`]: ErrorKind::FileTooBig
    /// [`Unsupported`]: ErrorKind::Unsupported
    /// [`AlreadyExists`]: ErrorKind::AlreadyExists
    /// [`AlreadyLocked`]: ErrorKind::AlreadyLocked
    /// [`Cancelled`]: ErrorKind::Cancelled
    /// [`NotFound`]: ErrorKind::NotFound
    /// [`PermissionDenied`]: ErrorKind::PermissionDenied
    /// [`DiskFull`]: ErrorKind::DiskFull
    /// [`Io`]: ErrorKind::Io
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use vmdk_engine::{CreateOptions, Disk, DiskKind, Progress, Sector, SectorCount};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("disk.vmdk");
    /// let options = CreateOptions::new(DiskKind::SplitFlat, SectorCount::new(20_480));
    /// let mut last = 0;
    /// let disk = Disk::create(&path, &options, &mut |progress: Progress| {
    ///     last = progress.percent();
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(last, 100);
    /// assert!(path.with_file_name("disk-f001.vmdk").exists());
    /// disk.write_at(Sector::new(20_479), &[7; 512])?;
    /// disk.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(
        path: impl AsRef<Path>,
        options: &CreateOptions,
        watcher: Watcher<'_>,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let during = |error: Error| error.at(path).during(Operation::Create, None);
        if options.kind() == DiskKind::StreamOptimized {
            return Self::begin_stream(path, options, watcher).map_err(during);
        }
        let made = options
            .check()
            .map_err(Error::from)
            .and_then(|()| NewDisk::plan(path, options.kind(), options.capacity()))
            .and_then(|disk| {
                let metadata = options.metadata()?;
                disk.make(options.gate_ref(), None, metadata, watcher)
            })
            .map_err(during)?;
        let gate = Arc::clone(options.gate_ref());
        let opened = Self::open(&made.path, &OpenOptions::new().writable(true).gate(gate));
        match opened {
            Ok(disk) => {
                made.keep();
                Ok(disk)
            }
            // Whoever has it by now may have written to it.
            Err(error) if error.kind() == ErrorKind::AlreadyLocked => {
                made.keep();
                Err(during(error))
            }
            Err(error) => Err(during(error)),
        }
    }
}

/// The kinds that take space only where they are written, and so can be children.
const SPARSE_KINDS: [DiskKind; 2] = [DiskKind::MonolithicSparse, DiskKind::SplitSparse];

/// A disk that is to be made.
struct NewDisk<'a> {
    path: &'a Path,
    kind: DiskKind,
    extents: Vec<NewExtent>,
}

/// A disk that was made, and goes again unless its files are kept.
pub(crate) struct MadeDisk<'a> {
    path: PathBuf,
    files: NewFiles<'a>,
}

/// A disk whose descriptor is a draft, so that nobody takes it for a disk. Its files go again unless it is published.
pub(crate) struct DraftDisk<'a> {
    path: PathBuf,
    kind: DiskKind,
    text: Vec<u8>,
    gate: &'a dyn OpenGate,
    /// Before the draft, so that they go before its lock does.
    files: NewFiles<'a>,
    draft: OpenedFile,
    /// The disk that has the name, if it is still there.
    old: Option<Removal<'a>>,
}

impl<'a> DraftDisk<'a> {
    /// Makes all but the name of a disk; `more` goes into its disk data base.
    ///
    /// It takes the place of `old`: where it is one file, when it is published; else at once, as its files may have to
    /// have the names of those of the old one.
    pub(crate) fn make(
        path: &Path,
        options: &'a CreateOptions,
        more: Vec<(String, String)>,
        old: Option<Removal<'a>>,
        watcher: Watcher<'_>,
    ) -> Result<Self, Error> {
        options.check()?;
        let disk = NewDisk::plan(path, options.kind(), options.capacity())?;
        let mut metadata = options.metadata()?;
        metadata.extend(more);
        disk.make_draft(options.gate_ref(), None, metadata, old, watcher)
    }

    /// Opens the disk for writing. It must be closed before the disk is published.
    pub(crate) fn open(&self, gate: &Arc<dyn OpenGate>) -> Result<Disk, Error> {
        let options = OpenOptions::new().writable(true).gate(Arc::clone(gate));
        let file = self.draft.clone();
        let link = if self.kind == DiskKind::StreamOptimized {
            Link::new_stream(gate, file, &self.text)?
        } else {
            Link::open_file(file, &options, &mut SharedCaches::new())?
        };
        Ok(Disk::of_one_link(link))
    }

    /// Gives the descriptor its name, durably.
    pub(crate) fn publish(mut self) -> Result<MadeDisk<'a>, Error> {
        match self.old {
            None => {
                self.files.rename(&self.draft.path, &self.path)?;
                sync_folder(self.gate, &self.path)?;
            }
            Some(old) => {
                self.files.replace(&self.draft.path, &self.path)?;
                sync_folder(self.gate, &self.path)?;
                if let Err(error) = old.run_but_descriptor() {
                    tracing::warn!(%error, "a file of the disk that was replaced stays");
                }
            }
        }
        Ok(MadeDisk {
            path: self.path,
            files: self.files,
        })
    }
}

impl MadeDisk<'_> {
    /// The disk stays.
    pub(crate) fn keep(self) {
        self.files.keep();
    }
}

impl<'a> NewDisk<'a> {
    fn plan(path: &'a Path, kind: DiskKind, capacity: SectorCount) -> Result<Self, Error> {
        let name = DiskName::of(path)?;
        Ok(Self {
            path,
            kind,
            extents: plan::extents(kind, capacity, &name)?,
        })
    }

    /// Makes the files, durable in the end.
    fn make<'g>(
        &self,
        gate: &'g Arc<dyn OpenGate>,
        parent: Option<&ParentOf>,
        metadata: Vec<(String, String)>,
        watcher: Watcher<'_>,
    ) -> Result<MadeDisk<'g>, Error> {
        self.make_draft(gate, parent, metadata, None, watcher)?
            .publish()
    }

    /// The text of the descriptor.
    fn text(
        &self,
        parent: Option<NewParent>,
        metadata: Vec<(String, String)>,
    ) -> Result<Vec<u8>, Error> {
        let text = NewText {
            kind: self.kind,
            id: ContentId::new()?,
            parent,
            extents: &self.extents,
            metadata,
        };
        Ok(text.build())
    }

    /// Makes the files, durable but for the name of the descriptor. A stream has no content yet.
    fn make_draft<'g>(
        &self,
        gate: &'g Arc<dyn OpenGate>,
        parent: Option<&ParentOf>,
        metadata: Vec<(String, String)>,
        mut old: Option<Removal<'g>>,
        watcher: Watcher<'_>,
    ) -> Result<DraftDisk<'g>, Error> {
        let gate = &**gate;
        for path in self.names() {
            expect_free(gate, &path, old.as_ref())?;
        }
        let total = self
            .extents
            .iter()
            .map(|extent| extent.file_len().get())
            .fold(0, u64::saturating_add);
        let mut work = Work::begin(ByteLen::new(total), watcher)?;
        let draft = make_draft(gate, self.path)?;
        let mut files = NewFiles::new(gate);
        files.add(&draft.path);
        let path = draft
            .path
            .with_file_name(self.path.file_name().unwrap_or_default());
        if old.as_ref().is_some_and(|old| old.path() != path) {
            // A link to it.
            return Err(Error::from(GateError::Exists).at(&path));
        }
        let parent = parent.map(|parent| parent.seen_from(&path)).transpose()?;
        let text = self.text(parent, metadata)?;
        match self.extents.as_slice() {
            [extent] if extent.has_text() => {
                fill::fill(extent, &*draft.storage, &text, &mut work)
                    .map_err(|error| error.at(&draft.path))?;
            }
            extents => {
                write_text(&draft, &text).map_err(|error| error.at(&draft.path))?;
                // What goes wrong from here on, even the power, leaves a draft that tells which files to remove.
                sync_folder(gate, &draft.path)?;
                old.take().map_or(Ok(()), Removal::run)?;
                for extent in extents {
                    let file = files.create(&draft.path.with_file_name(&extent.name))?;
                    fill::fill(extent, &*file.storage, &[], &mut work)
                        .map_err(|error| error.at(&file.path))?;
                }
                sync_folder(gate, &draft.path)?;
            }
        }
        Ok(DraftDisk {
            path,
            kind: self.kind,
            text,
            gate,
            files,
            draft,
            old,
        })
    }

    /// The files that there will be.
    fn names(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let extents = self.extents.iter();
        let extents = extents.filter(|extent| !extent.has_text());
        let extents = extents.map(|extent| self.path.with_file_name(&extent.name));
        std::iter::once(self.path.to_owned()).chain(extents)
    }
}

/// The bytes of a disk of zeros, with 64 KiB for a descriptor in a file of its own.
pub(crate) fn space_of_new_disk(kind: DiskKind, capacity: SectorCount) -> Result<ByteLen, Error> {
    const TEXT: u64 = 64 * 1024;
    let extents = NewDisk::plan(Path::new("disk.vmdk"), kind, capacity)?.extents;
    let text = if extents.iter().any(NewExtent::has_text) {
        0
    } else {
        TEXT
    };
    let files = extents.iter().map(NewExtent::space);
    Ok(ByteLen::new(
        files.fold(text, |sum, file| sum.saturating_add(file.get())),
    ))
}

/// Finds out early, before anything is made, that a name is taken; making the file finds out for certain.
fn expect_free(gate: &dyn OpenGate, path: &Path, old: Option<&Removal<'_>>) -> Result<(), Error> {
    let is_freed = |file: &OpenedFile| {
        let name = path.file_name().unwrap_or_default();
        old.is_some_and(|old| old.frees(name, file))
    };
    match gate.open_disk(path, FileAccess::Read) {
        Err(GateError::NotFound | GateError::Io(_)) => Ok(()),
        Ok(file) if is_freed(&file) => Ok(()),
        _ => Err(Error::from(GateError::Exists).at(path)),
    }
}

fn write_text(file: &OpenedFile, text: &[u8]) -> Result<(), Error> {
    file.storage
        .write_all_at(text, ByteLen::ZERO)
        .map_err(|error| IoFault::new("writing the descriptor", error))?;
    fill::sync(&*file.storage)
}

fn sync_folder(gate: &dyn OpenGate, path: &Path) -> Result<(), Error> {
    let synced = gate.sync_folder(path);
    synced.map_err(|error| Error::from(error).at(path))
}
