//! New streams: disks that are written from their first sector to their last.

use std::io::Write;
use std::path::Path;

use disk_units::ByteLen;

use super::{CreateOptions, NewDisk, sync_folder};
use crate::disk::Disk;
use crate::draft::NewFiles;
use crate::error::{Error, Operation};
use crate::info::DiskKind;
use crate::link::Link;
use crate::progress::{Watcher, Work};
use crate::stream::StreamWriter;

impl Disk {
    /// Begins a stream under its final name: it becomes a disk by its end, which is written when it is closed.
    pub(super) fn begin_stream(
        path: &Path,
        options: &CreateOptions,
        watcher: Watcher<'_>,
    ) -> Result<Self, Error> {
        options.check()?;
        let new = NewDisk::plan(path, options.kind(), options.capacity())?;
        let text = new.text(None, options.metadata()?)?;
        Work::begin(ByteLen::ZERO, watcher)?;
        let gate = &**options.gate_ref();
        let mut files = NewFiles::new(gate);
        let file = files.create(path)?;
        let path = file.path.clone();
        let link = Link::new_stream(options.gate_ref(), file, &text)?;
        sync_folder(gate, &path)?;
        files.keep();
        Ok(Self::of_one_link(link))
    }
}

impl<W: Write> StreamWriter<W> {
    /// Begins a stream of the capacity and with the metadata of `options`, whose other members do not matter.
    /// `file_name` is what the descriptor inside calls the file that the stream will be in.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) and [`FileTooBig`](crate::ErrorKind::FileTooBig) as
    /// [`Disk::create`] has them, and what the sink reports.
    ///
    /// ```
    /// use vmdk_engine::{CreateOptions, DiskKind, Sector, SectorCount, StreamReader, StreamWriter};
    ///
    /// let options = CreateOptions::new(DiskKind::StreamOptimized, SectorCount::new(20_480));
    /// let mut stream = StreamWriter::new(Vec::new(), "disk.vmdk", &options)?;
    /// stream.write_at(Sector::new(1280), &[7; 65_536])?;
    /// let bytes = stream.finish()?;
    ///
    /// let grain = StreamReader::new(&bytes[..])?.next().expect("there is one")?;
    /// assert_eq!(grain.start(), Sector::new(1280));
    /// assert_eq!(grain.bytes(), [7; 65_536]);
    /// # Ok::<(), vmdk_engine::Error>(())
    /// ```
    pub fn new(sink: W, file_name: &str, options: &CreateOptions) -> Result<Self, Error> {
        Self::begin(sink, file_name, options).map_err(|error| error.during(Operation::Create, None))
    }

    fn begin(sink: W, file_name: &str, options: &CreateOptions) -> Result<Self, Error> {
        options.check()?;
        let (path, kind) = (Path::new(file_name), DiskKind::StreamOptimized);
        let text =
            NewDisk::plan(path, kind, options.capacity())?.text(None, options.metadata()?)?;
        Self::with_text(sink, options.capacity(), &text)
    }
}
