//! Where a copy reads.

use disk_units::{SectorCount, SectorRange};

use super::plan::Step;
use super::writer::Work;
use crate::aio::IoFuture;
use crate::buffer::AlignedBuf;
use crate::connection::OpenFlags;
use crate::disk::{Disk, Facts};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::extents::Extents;
use crate::shared::SharedDisk;

/// The disk that [`copy`](crate::copy()) reads: a reference to a [`Disk`] or a [`SharedDisk`] becomes one.
#[derive(Clone, Copy, Debug)]
pub struct CopySource<'disk>(Kind<'disk>);

#[derive(Clone, Copy, Debug)]
enum Kind<'disk> {
    Disk(&'disk Disk),
    Shared(&'disk SharedDisk),
}

impl<'disk> From<&'disk Disk> for CopySource<'disk> {
    fn from(disk: &'disk Disk) -> Self {
        Self(Kind::Disk(disk))
    }
}

impl<'disk> From<&'disk SharedDisk> for CopySource<'disk> {
    fn from(disk: &'disk SharedDisk) -> Self {
        Self(Kind::Shared(disk))
    }
}

impl<'disk> CopySource<'disk> {
    fn facts(&self) -> &'disk Facts {
        match self.0 {
            Kind::Disk(disk) => disk.facts(),
            Kind::Shared(disk) => disk.facts(),
        }
    }

    pub(super) fn capacity(&self) -> SectorCount {
        self.facts().info.capacity
    }

    /// Refuses a link that was opened without its parents where the library describes chunks: one that the link has a
    /// part of, or the tail, would be copied with zeroes for what it does not have.
    pub(super) fn check(&self) -> Result<()> {
        let facts = self.facts();
        let alone =
            facts.flags.contains(OpenFlags::SINGLE_LINK) && facts.info.parent_hint.is_some();
        if alone && !facts.capabilities.exact_extents {
            let text = "the library cannot tell exactly which sectors this link has";
            return Err(self.failure(ErrorKind::Unsupported, text));
        }
        Ok(())
    }

    /// The extents of the whole disk.
    pub(super) fn extents(&self) -> Result<Extents<'disk>> {
        let whole = SectorRange::whole(self.capacity());
        match self.0 {
            Kind::Disk(disk) => disk.extents(whole),
            Kind::Shared(disk) => disk.extents(whole),
        }
    }

    /// An error of a copy from this disk.
    pub(super) fn failure(&self, kind: ErrorKind, text: impl Into<String>) -> Error {
        Error::new(kind, Operation::Copy, text).with_path(&self.facts().name)
    }
}

/// Starts reads, and keeps the memory of those that are done.
pub(super) struct Reader<'disk> {
    source: CopySource<'disk>,
    free: Vec<AlignedBuf>,
}

/// A step that was started.
pub(super) enum Reading {
    Ready(Result<Work>),
    Underway(SectorRange, IoFuture),
}

impl<'disk> Reader<'disk> {
    pub(super) fn new(source: &CopySource<'disk>) -> Self {
        Self {
            source: *source,
            free: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, step: Step) -> Reading {
        match step {
            Step::Zero(range) => Reading::Ready(Ok(Work::Zero(range))),
            Step::Skip(range) => Reading::Ready(Ok(Work::Skip(range))),
            Step::Read(range) => {
                let mut buf = self.buffer(range.count());
                match self.source.0 {
                    Kind::Disk(disk) => {
                        Reading::Underway(range, disk.read_async(range.start(), buf))
                    }
                    Kind::Shared(disk) => {
                        let read = disk.read_at(range.start(), &mut buf);
                        Reading::Ready(read.map(|()| Work::Data(range, buf)))
                    }
                }
            }
        }
    }

    /// Most requests have one length, so most buffers fit again.
    fn buffer(&mut self, count: SectorCount) -> AlignedBuf {
        let last = self.free.pop().filter(|buf| buf.sectors() == count);
        last.unwrap_or_else(|| AlignedBuf::new(count))
    }

    pub(super) fn recycle(&mut self, buf: Option<AlignedBuf>) {
        self.free.extend(buf);
    }
}

impl Reading {
    /// Waits for the data.
    pub(super) fn wait(self) -> Result<Work> {
        match self {
            Self::Ready(work) => work,
            Self::Underway(range, future) => {
                let (done, buf) = future.wait();
                done.map(|()| Work::Data(range, buf))
            }
        }
    }
}
