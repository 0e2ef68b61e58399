//! Committing: a child's content goes into its parent.
//!
//! 1. The parent gets a new content id, then the child names that: two small writes, each made durable. Only in between
//!    does the child not fit its parent. The new id is [made of the old ones](ids), so that a commit that was
//!    interrupted there is recognised, and finished when it is run again.
//! 2. Everything that the child has is copied into the parent and made durable. The chain reads the same all the time,
//!    as the child hides whatever the parent has by then.
//! 3. The child is removed, emptied or kept; what it has, the parent has too.

mod ids;
mod remove;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use self::ids::MadeId;
use crate::chain::{Chain, find_parent};
use crate::descriptor::ContentMark;
use crate::disk::{Disk, OpenOptions};
use crate::error::{Cause, Error, ErrorKind, Operation};
use crate::extent::ZeroMode;
use crate::gate::{FolderGate, OpenGate};
use crate::link::Link;
use crate::map::Allocation;
use crate::progress::{Watcher, Work};
use crate::units::{buffer_len, clamped, is_zero, range_of};

/// So much is copied at once.
const PIECE: SectorCount = SectorCount::new(2048);
/// Zeros of this length are not written as data.
const ZEROS: SectorCount = SectorCount::new(128);
/// Zeros are written in steps of this length, between which the watcher is asked.
const ZERO_STEP: SectorCount = SectorCount::new(1 << 21);

/// The parent that was found has been exchanged since.
#[derive(Debug, thiserror::Error)]
#[error("the parent was changed by somebody else just now")]
struct ParentChanged;

impl Cause for ParentChanged {
    fn kind(&self) -> ErrorKind {
        ErrorKind::CidMismatch
    }
}

/// What becomes of a child that was committed; see [`commit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AfterCommit {
    /// Its files are removed, as by [`unlink`](crate::unlink()).
    #[default]
    RemoveChild,
    /// It stays the child of its parent, but has no data of its own any more.
    EmptyChild,
    /// It stays the child of its parent, with data that the parent has, too.
    KeepChild,
}

/// How to commit a child; see [`commit`]. The default: the child is removed, under [`FolderGate`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommitOptions {
    afterwards: AfterCommit,
    gate: Arc<dyn OpenGate>,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            afterwards: AfterCommit::default(),
            gate: Arc::new(FolderGate),
        }
    }
}

impl CommitOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of the child.
    #[must_use]
    pub fn afterwards(mut self, afterwards: AfterCommit) -> Self {
        self.afterwards = afterwards;
        self
    }

    /// Who decides which files may be opened and removed, and does it.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn OpenGate>) -> Self {
        self.gate = gate;
        self
    }
}

/// Copies everything that the child disk `child` has into its parent, data and zeros, and returns where the parent is.
/// To bring a child further down, commit what is returned in its turn.
///
/// Both disks are opened here, for writing, and may not be open anywhere else. The parent may be of any kind that can be
/// written, and have parents itself. It gets a new content id, so **its other children do not fit any more**, and neither
/// do children of the child, unless that is [kept](AfterCommit::KeepChild) or [emptied](AfterCommit::EmptyChild).
///
/// Interrupted at any moment, by a crash too, or cancelled, the child still reads the same, or else running the commit
/// again finishes it: until then the child may be refused for the content id of its parent, or have lost some of the
/// files that are being removed. Cancelling before the first byte is copied changes nothing. The watcher is told of bytes
/// copied, about every MiB.
///
/// # Errors
/// [`NotAChild`](ErrorKind::NotAChild); [`AlreadyLocked`](ErrorKind::AlreadyLocked) if one of the two is open;
/// [`ReadOnly`](ErrorKind::ReadOnly) and [`Unsupported`](ErrorKind::Unsupported) for disks that cannot be written;
/// [`DiskFull`](ErrorKind::DiskFull), after which it can be run again; [`Cancelled`](ErrorKind::Cancelled); and those of
/// [`Disk::open`], [`Disk::read_at`] and [`Disk::write_at`].
///
/// ```
/// use std::fs;
///
/// use vmdk_engine::{CommitOptions, Disk, DiskKind, OpenOptions, Sector, commit, unwatched};
/// # use vmdk_engine::{CreateOptions, SectorCount};
/// # let scratch = tempfile::tempdir()?;
/// # let folder = scratch.path();
/// # let options = CreateOptions::new(DiskKind::MonolithicSparse, SectorCount::new(2048));
/// # Disk::create(folder.join("base.vmdk"), &options, &mut unwatched)?.close()?;
/// let base = Disk::open(folder.join("base.vmdk"), &OpenOptions::new())?;
/// base.create_child(folder.join("child.vmdk"), DiskKind::MonolithicSparse, &mut unwatched)?;
/// drop(base);
///
/// let child = Disk::open(folder.join("child.vmdk"), &OpenOptions::new().writable(true))?;
/// child.write_at(Sector::new(7), &[1; 512])?;
/// child.close()?;
///
/// let base = commit(folder.join("child.vmdk"), &CommitOptions::new(), &mut unwatched)?;
///
/// assert_eq!(base, fs::canonicalize(folder.join("base.vmdk"))?);
/// assert!(!folder.join("child.vmdk").exists());
/// let mut sector = [0; 512];
/// Disk::open(base, &OpenOptions::new())?.read_at(Sector::new(7), &mut sector)?;
/// assert_eq!(sector, [1; 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn commit(
    child: impl AsRef<Path>,
    options: &CommitOptions,
    watcher: Watcher<'_>,
) -> Result<PathBuf, Error> {
    let child = child.as_ref();
    run(child, options, watcher).map_err(|error| error.at(child).during(Operation::Commit, None))
}

fn run(path: &Path, options: &CommitOptions, watcher: Watcher<'_>) -> Result<PathBuf, Error> {
    let open = OpenOptions::new()
        .writable(true)
        .gate(Arc::clone(&options.gate));
    let child = match Disk::open(path, &open.clone().single_link(true)) {
        Err(error) if error.kind() == ErrorKind::ExtentNotFound => {
            return remove::go_on(path, &open)?.ok_or(error);
        }
        result => result?,
    };
    let leaf = child.chain().leaf();
    let accepts =
        |link: &Link, mark| link.mark() == Some(mark) || ids::is_interrupted(link, leaf, mark);
    let file = (leaf.path(), leaf.identity());
    let parent = find_parent(file, leaf.parent().as_ref(), &open, &accepts)?;
    let parent = Disk::open(parent, &open)?;
    copy_all(child.chain(), parent.chain(), watcher)?;
    let found = parent.chain().path().to_owned();
    match options.afterwards {
        AfterCommit::RemoveChild => {
            remove::mark(leaf)?;
            let (path, mark) = (leaf.path().to_owned(), leaf.mark());
            child.close()?;
            remove::remove(&path, mark, &*options.gate)?;
        }
        AfterCommit::EmptyChild => {
            leaf.empty()?;
            child.close()?;
        }
        AfterCommit::KeepChild => child.close()?,
    }
    parent.close()?;
    Ok(found)
}

/// Brings the parent to the content that the child shows, durably.
fn copy_all(child: &Chain, parent: &Chain, watcher: Watcher<'_>) -> Result<(), Error> {
    child.check_fit(parent)?;
    let runs = Runs::of(child, parent)?;
    let mut work = Work::begin(runs.bytes, watcher)?;
    join(child, parent)?;
    for run in runs.of_child(child) {
        let (range, state) = run?;
        match state {
            Allocation::Data => copy(child, parent, range, &mut work)?,
            _ => zero(parent, range, &mut work)?,
        }
    }
    parent.flush()
}

/// Gives the parent a new content id, and has the child name it.
fn join(child: &Chain, parent: &Chain) -> Result<(), Error> {
    let (child, parent) = (child.leaf(), parent.leaf());
    let reference = child.parent().map(|reference| reference.mark);
    let (Some(reference), Some(ContentMark::Cid(own))) = (reference, child.mark()) else {
        return Err(ParentChanged.into());
    };
    let (ContentMark::Cid(named), Some(ContentMark::Cid(found))) = (reference, parent.mark())
    else {
        return Err(ParentChanged.into());
    };
    if named != found && !ids::is_interrupted(parent, child, reference) {
        return Err(ParentChanged.into());
    }
    // One that was interrupted has this id already; given again, it does not change any more.
    let made = MadeId::of_parent(named, own, ids::id_digits(parent, child));
    parent.set_content_id(made.id, made.long)?;
    child.set_parent_id(made.id)
}

/// What a child has of its own.
struct Runs {
    bytes: ByteLen,
}

impl Runs {
    /// Looks at all of it, and refuses where the parent could not take it.
    fn of(child: &Chain, parent: &Chain) -> Result<Self, Error> {
        let mut runs = Self {
            bytes: ByteLen::ZERO,
        };
        for run in runs.of_child(child) {
            let (range, _) = run?;
            parent.leaf().check_all_writable(range)?;
            let bytes = range.count().bytes().unwrap_or_default();
            runs.bytes = runs.bytes.checked_add(bytes).unwrap_or(runs.bytes);
        }
        Ok(runs)
    }

    fn of_child<'a>(
        &self,
        child: &'a Chain,
    ) -> impl Iterator<Item = crate::extent::MapRun> + use<'a> {
        let whole = SectorRange::whole(child.capacity());
        let runs = child.leaf().map(whole);
        runs.filter(|run| !matches!(run, Ok((_, Allocation::Hole))))
    }
}

fn copy(
    child: &Chain,
    parent: &Chain,
    mut range: SectorRange,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let mut buffer = Vec::new();
    while !range.is_empty() {
        let (piece, rest) = range.split_at(border(range.start(), PIECE));
        buffer.resize(buffer_len(piece.count()), 0);
        child.read(piece.start(), &mut buffer)?;
        let mut start = piece.start();
        for part in buffer.chunks(buffer_len(ZEROS)) {
            if is_zero(part) {
                parent.write_zeroes(range_of(start, part), ZeroMode::MayFree)?;
            } else {
                parent.write(start, part)?;
            }
            start = range_of(start, part).end();
        }
        work.advance(piece.count().bytes().unwrap_or_default())?;
        range = rest;
    }
    Ok(())
}

fn zero(parent: &Chain, mut range: SectorRange, work: &mut Work<'_>) -> Result<(), Error> {
    while !range.is_empty() {
        let (piece, rest) = range.split_at(border(range.start(), ZERO_STEP));
        parent.write_zeroes(piece, ZeroMode::MayFree)?;
        work.advance(piece.count().bytes().unwrap_or_default())?;
        range = rest;
    }
    Ok(())
}

/// The next multiple of `step` behind `start`, so that pieces end where grains do.
fn border(start: Sector, step: SectorCount) -> Sector {
    let behind = clamped(start, step).end().get();
    let rest = behind.checked_rem(step.get()).unwrap_or(0);
    Sector::new(behind.saturating_sub(rest))
}
