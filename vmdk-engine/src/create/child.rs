//! Making children.

use std::path::{Path, PathBuf};

use super::hint::way_to;
use super::ids::new_uuid;
use super::names::{NameError, quotable};
use super::text::NewParent;
use super::{NewDisk, SPARSE_KINDS};
use crate::descriptor::ContentMark;
use crate::disk::Disk;
use crate::draft::expect_unlocked;
use crate::error::{Cause, Error, ErrorKind, Operation};
use crate::info::DiskKind;
use crate::progress::Watcher;

/// What a child has of its parents from the start.
const COPIED: [&str; 10] = [
    "adapterType",
    "geometry.biosCylinders",
    "geometry.biosHeads",
    "geometry.biosSectors",
    "geometry.cylinders",
    "geometry.heads",
    "geometry.sectors",
    "logicalSectorSize",
    "physicalSectorSize",
    "virtualHWVersion",
];

/// Why a disk cannot have such a child.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("children are sparse, in one file or split, and not of the kind {0}")]
    Kind(&'static str),
    #[error("the parent is open for writing, which would make the child useless")]
    ParentWritable,
    #[error("the parent has no content id that a child could know it by")]
    NoContentId,
}

impl Cause for ChildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Kind(_) | Self::NoContentId => ErrorKind::Unsupported,
            Self::ParentWritable => ErrorKind::InvalidArgument,
        }
    }
}

/// Who the parent of a new child is.
pub(super) struct ParentOf {
    pub(super) cid: u32,
    pub(super) path: PathBuf,
}

impl ParentOf {
    /// What the child at `path` says of it.
    pub(super) fn seen_from(&self, path: &Path) -> Result<NewParent, NameError> {
        let hint = way_to(path, &self.path);
        let text = hint
            .to_str()
            .ok_or_else(|| NameError::NotUtf8(hint.to_string_lossy().into_owned()))?;
        Ok(NewParent {
            cid: self.cid,
            hint: quotable(text)?.to_owned(),
        })
    }
}

impl Disk {
    /// Makes a child of this disk: a disk that shows what this one has until it is written itself.
    ///
    /// The disk is open for reading, and nothing writes to it from now on: that would make the child useless. The child
    /// is of the kind [`MonolithicSparse`](DiskKind::MonolithicSparse) or [`SplitSparse`](DiskKind::SplitSparse), is as
    /// large as its parent, and gets the parent's adapter, geometry, hardware version and sector sizes, but an id of its
    /// own. It finds its parent by the way from its own folder, so both may move together. Files come and go as with
    /// [`Disk::create`], by the gate that this disk was opened with; the child is not opened.
    ///
    /// # Errors
    /// By [`kind`](Error::kind): [`Unsupported`](ErrorKind::Unsupported) for other kinds, and for a parent without a
    /// content id; [`InvalidArgument`](ErrorKind::InvalidArgument) if this disk is open for writing, and for names that
    /// no descriptor can hold; [`AlreadyLocked`](ErrorKind::AlreadyLocked) if somebody else writes to it; and those of
    /// [`Disk::create`] for files.
    ///
    /// ```
    /// use vmdk_engine::{CreateOptions, Disk, DiskKind, OpenOptions, Sector, SectorCount, unwatched};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let folder = scratch.path();
    /// let options = CreateOptions::new(DiskKind::MonolithicFlat, SectorCount::new(2048));
    /// let base = Disk::create(folder.join("base.vmdk"), &options, &mut unwatched)?;
    /// base.write_at(Sector::new(5), &[5; 512])?;
    /// base.close()?;
    ///
    /// let base = Disk::open(folder.join("base.vmdk"), &OpenOptions::new())?;
    /// base.create_child(folder.join("child.vmdk"), DiskKind::MonolithicSparse, &mut unwatched)?;
    ///
    /// let child = Disk::open(folder.join("child.vmdk"), &OpenOptions::new().writable(true))?;
    /// let mut sector = [0; 512];
    /// child.read_at(Sector::new(5), &mut sector)?;
    /// assert_eq!(sector, [5; 512]);
    /// assert_eq!(child.info().parent_hint.as_deref(), Some("base.vmdk"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_child(
        &self,
        path: impl AsRef<Path>,
        kind: DiskKind,
        watcher: Watcher<'_>,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        self.make_child(path, kind, watcher)
            .map_err(|error| error.at(path).during(Operation::CreateChild, None))
    }

    fn make_child(&self, path: &Path, kind: DiskKind, watcher: Watcher<'_>) -> Result<(), Error> {
        if !SPARSE_KINDS.contains(&kind) {
            return Err(ChildError::Kind(kind.create_type()).into());
        }
        if self.is_writable() {
            return Err(ChildError::ParentWritable.into());
        }
        let Some(ContentMark::Cid(cid)) = self.chain().mark() else {
            return Err(ChildError::NoContentId.into());
        };
        let gate = self.chain().gate();
        let parent = ParentOf {
            cid,
            path: self.chain().path().to_owned(),
        };
        let _unlocked = expect_unlocked(&**gate, &parent.path)?;
        let copied = COPIED.iter().filter_map(|key| {
            let value = self.metadata(key)?;
            quotable(&value).ok()?;
            Some(((*key).to_owned(), value.clone()))
        });
        let mut metadata: Vec<(String, String)> = copied.collect();
        metadata.push(("uuid".to_owned(), new_uuid()?));
        NewDisk::plan(path, kind, self.capacity())?
            .make(gate, Some(&parent), metadata, watcher)?
            .files
            .keep();
        Ok(())
    }
}
