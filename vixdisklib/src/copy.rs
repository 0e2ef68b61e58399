//! Copying what a disk holds, and nothing else.
//!
//! One direction: the plan turns extents into steps, the caller's thread starts reads and waits for them in order, and a
//! second thread finds the zeroes and writes. What is on its way is bounded, so memory is.

mod plan;
mod source;
mod target;
mod writer;
mod zero;

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::panic;
use std::sync::mpsc;
use std::thread;

use disk_units::{ByteLen, SectorCount};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::extents::ChangedAreas;
use plan::Step;
use source::Reader;
use writer::{Done, Work, Writer};

pub use source::CopySource;
pub use target::CopyTarget;

/// The longest request: 2 MiB, as hosts fail beyond it (manual of nbdkit's VDDK plugin).
const LONGEST_REQUEST: SectorCount = SectorCount::new(4096);

/// How [`copy`] works; what is not set has a good default.
///
/// ```
/// use vixdisklib::CopyOptions;
///
/// let options = CopyOptions::new().target_is_zero(true);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CopyOptions {
    changed: Option<ChangedAreas>,
    target_is_zero: bool,
    request: SectorCount,
    in_flight: usize,
}

impl CopyOptions {
    /// A whole copy, onto a target of which nothing is known: 4 requests of 1 MiB on their way.
    pub fn new() -> Self {
        Self {
            changed: None,
            target_is_zero: false,
            request: SectorCount::new(2048),
            in_flight: 4,
        }
    }

    /// Copies these areas alone, onto a target that has the rest already.
    pub fn changed(mut self, areas: ChangedAreas) -> Self {
        self.changed = Some(areas);
        self
    }

    /// Whether the target reads as zero all over, as a new disk does: then zeroes are left out. By default they are
    /// written, or the target is told to zero.
    pub fn target_is_zero(mut self, is_zero: bool) -> Self {
        self.target_is_zero = is_zero;
        self
    }

    /// The sectors of one request, 1 to 4096 (2 MiB); others are brought into that range.
    pub fn request(mut self, sectors: SectorCount) -> Self {
        self.request = sectors.clamp(SectorCount::new(1), LONGEST_REQUEST);
        self
    }

    /// How many requests are on their way at once, from the start of the read to the end of the write; at least 1. Memory
    /// is bounded by this many requests.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests.max(1);
        self
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a [`copy`] is, in bytes: `copied + zeroed + skipped` are done out of `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// What is to be gone through: the capacity, or the changed areas.
    pub total: ByteLen,
    /// Data that was written.
    pub copied: ByteLen,
    /// Zeroes that the target was told to zero.
    pub zeroed: ByteLen,
    /// What was left alone: zeroes on a target that reads as zero, and what the source does not have.
    pub skipped: ByteLen,
}

impl CopyProgress {
    /// What is done, in bytes.
    #[must_use]
    pub fn done(&self) -> ByteLen {
        ByteLen::new(self.copied.get() + self.zeroed.get() + self.skipped.get())
    }

    fn add(&mut self, done: &Done) {
        for (sum, more) in [
            (&mut self.copied, done.copied),
            (&mut self.zeroed, done.zeroed),
            (&mut self.skipped, done.skipped),
        ] {
            *sum = ByteLen::new(sum.get() + more);
        }
    }
}

impl fmt::Display for CopyProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            total,
            copied,
            zeroed,
            skipped,
        } = self;
        write!(
            formatter,
            "{} of {total} bytes: {copied} copied, {zeroed} zeroed, {skipped} skipped",
            self.done()
        )
    }
}

/// Copies a disk, or what changed of it, to a target of the same size or larger, and makes it durable.
///
/// Only what is allocated is read, in the areas of [`CopyOptions::changed`] if there are any. Read data that is zero over
/// a whole grain of the target is not written but zeroed, or left out, so that a sparse target stays sparse. What a link
/// that was opened alone ([`OpenFlags::SINGLE_LINK`](crate::OpenFlags::SINGLE_LINK)) does not have is left alone on the
/// target, where its parent would show. Afterwards the target equals the source in the areas that were copied, whatever it
/// held before. Nobody must write to either meanwhile.
///
/// Blocks. Reads run on this thread, or asynchronously where the library can; writes run on a second thread beside them.
/// `progress` is called on this thread after every part, at most a few MiB each, or 1 GiB where there is nothing to read; it
/// may end the copy by [`ControlFlow::Break`].
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use std::fs::File;
/// use std::ops::ControlFlow;
/// use vixdisklib::{CopyOptions, Library, OpenFlags, copy};
///
/// let disk = Library::embedded()?.connect_local()?.open_disk(&path, OpenFlags::READ_ONLY)?;
/// let mut image = File::create_new(folder.path().join("disk.raw"))?;
/// let options = CopyOptions::new().target_is_zero(true);
/// let result = copy(&disk, &mut image, &options, |progress| {
///     eprintln!("{progress}");
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(result.copied.get(), 64 * 512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a target that is smaller than the source, or a file that is larger;
/// [`ErrorKind::ReadOnly`] for a target disk that is open for reading; [`ErrorKind::Unsupported`] for a link that was
/// opened alone, without [`Capabilities::exact_extents`](crate::Capabilities::exact_extents); [`ErrorKind::Cancelled`] if `progress` ended it; what
/// reading reports of the source or writing of the target, whose paths tell which. Part of the target may then be
/// written.
///
/// # Panics
/// If the target or `progress` panics; the panic is passed on once nothing runs any more.
pub fn copy<'source, T: CopyTarget + ?Sized>(
    source: impl Into<CopySource<'source>>,
    target: &mut T,
    options: &CopyOptions,
    progress: impl FnMut(&CopyProgress) -> ControlFlow<()>,
) -> Result<CopyProgress> {
    let source = source.into();
    source.check()?;
    let capacity = source.capacity();
    let failed = |error| target::failure(error, "preparing the target", None);
    target.begin(capacity).map_err(failed)?;
    let grain = target.grain().clamp(SectorCount::new(1), LONGEST_REQUEST);
    // Whole grains, so that one that is zero is seen as a whole.
    let grains = (options.request.get() / grain.get()).max(1);
    let request = SectorCount::new(grains * grain.get());

    // Never longer than what is on its way.
    let (send_work, work) = mpsc::channel();
    let (send_done, done) = mpsc::channel();
    let writer = Writer {
        target: &mut *target,
        grain,
        target_is_zero: options.target_is_zero,
    };
    let steps = plan::steps(&source, options.changed.as_ref(), request)?;
    let mut run = Run {
        reader: Reader::new(&source),
        done,
        state: CopyProgress {
            total: total(capacity, options),
            ..CopyProgress::default()
        },
        progress,
    };
    let (read, written) = thread::scope(|scope| {
        let thread = thread::Builder::new().name("vixdisklib-copy".to_owned());
        let writer = thread.spawn_scoped(scope, move || writer.run(work, &send_done));
        let writer = writer.map_err(|cause| {
            let text = "no thread to write with";
            Error::new(ErrorKind::OutOfMemory, Operation::Copy, text).with_cause(cause)
        })?;
        let read = run.read(steps, send_work, options.in_flight);
        let written = writer.join();
        Ok((
            read,
            written.unwrap_or_else(|panicked| panic::resume_unwind(panicked)),
        ))
    })?;
    // Where writing failed, reading only noticed that nobody writes any more.
    written?;
    let state = run.state;
    match read? {
        End::Cancelled => Err(source.failure(ErrorKind::Cancelled, "the caller ended it")),
        End::Through if state.done() != state.total => {
            let text = format!(
                "the extents describe {} of {} bytes",
                state.done(),
                state.total
            );
            Err(source.failure(ErrorKind::Other, text))
        }
        End::Through => {
            let failed = |error| target::failure(error, "making the target durable", None);
            target.finish(capacity).map_err(failed)?;
            Ok(state)
        }
    }
}

fn total(capacity: SectorCount, options: &CopyOptions) -> ByteLen {
    let sectors = match &options.changed {
        None => capacity,
        Some(areas) => areas.sectors(),
    };
    sectors.bytes().unwrap_or_default()
}

/// How the caller's side of a copy came to its end.
enum End {
    /// All is done, or the writer has stopped and says why.
    Through,
    Cancelled,
}

/// The caller's side of a copy.
struct Run<'source, P> {
    reader: Reader<'source>,
    done: mpsc::Receiver<Done>,
    state: CopyProgress,
    progress: P,
}

impl<P: FnMut(&CopyProgress) -> ControlFlow<()>> Run<'_, P> {
    /// Starts what the steps say, at most `in_flight` of it at once, and hands it to the writer in order.
    fn read(
        &mut self,
        mut steps: impl Iterator<Item = Result<Step>>,
        work: mpsc::Sender<Work>,
        in_flight: usize,
    ) -> Result<End> {
        let mut reads = VecDeque::new();
        let mut underway = 0;
        loop {
            while underway < in_flight
                && let Some(step) = steps.next()
            {
                reads.push_back(self.reader.start(step?));
                underway += 1;
            }
            if underway == 0 {
                return Ok(End::Through);
            }
            // Once all reads are handed on there is nothing to do but wait for the writer.
            let done = match reads.pop_front() {
                Some(read) => {
                    if work.send(read.wait()?).is_err() {
                        return Ok(End::Through);
                    }
                    self.done.try_recv().ok()
                }
                None => match self.done.recv() {
                    Ok(done) => Some(done),
                    Err(_) => return Ok(End::Through),
                },
            };
            let Some(done) = done else { continue };
            underway -= 1;
            self.state.add(&done);
            self.reader.recycle(done.buf);
            if (self.progress)(&self.state).is_break() {
                return Ok(End::Cancelled);
            }
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
