//! A stream-optimised extent that is being written: grains in ascending order, each once, and nothing is read back.
//!
//! It becomes a disk when it is closed. One that is dropped instead lacks its footer, and everyone refuses to open it,
//! so that what was copied in part cannot be taken for the whole.

use std::io::{self, Write};
use std::iter;
use std::sync::Arc;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};
use parking_lot::Mutex;

use super::{Below, Extent, MapRun, ZeroMode};
use crate::error::{Cause, Error, ErrorKind, IoFault, Refusal};
use crate::fuse::Fuse;
use crate::storage::Storage;
use crate::stream::{StreamError, StreamWriter};

/// What is not possible before the disk is complete.
#[derive(Debug, thiserror::Error)]
enum NewStreamError {
    #[error("a new stream-optimised disk can be read once it was closed and is opened again")]
    NotReadable,
    #[error("the descriptor of a stream-optimised disk is in front of what is written already")]
    TextIsWritten,
    #[error("a stream-optimised disk has no space for zeros")]
    NoSpaceForZeros,
}

impl Cause for NewStreamError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }
}

/// A file that grows at its end.
#[derive(Debug)]
struct Growing {
    storage: Arc<dyn Storage>,
    end: ByteLen,
}

impl Write for Growing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.storage.write_all_at(buf, self.end)?;
        let length = ByteLen::new(u64::try_from(buf.len()).unwrap_or(u64::MAX));
        let end = self.end.checked_add(length);
        self.end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that is being written to a file.
#[derive(Debug)]
pub(crate) struct NewStreamExtent {
    storage: Arc<dyn Storage>,
    /// Nothing once it is closed.
    writer: Mutex<Option<StreamWriter<Growing>>>,
    fuse: Arc<Fuse>,
}

impl NewStreamExtent {
    /// Begins a stream in an empty file. `text` is its descriptor.
    pub(crate) fn begin(
        storage: Arc<dyn Storage>,
        capacity: SectorCount,
        text: &[u8],
        fuse: Arc<Fuse>,
    ) -> Result<Self, Error> {
        let growing = Growing {
            storage: Arc::clone(&storage),
            end: ByteLen::ZERO,
        };
        let writer = StreamWriter::with_text(growing, capacity, text)?;
        Ok(Self {
            storage,
            writer: Mutex::new(Some(writer)),
            fuse,
        })
    }

    fn with_writer<T>(
        &self,
        each: impl FnOnce(&mut StreamWriter<Growing>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        each(
            self.writer
                .lock()
                .as_mut()
                .ok_or(Refusal::WritesSuspended)?,
        )
    }

    fn sync(&self) -> Result<(), Error> {
        self.storage
            .sync_data()
            .map_err(|error| IoFault::new("the stream cannot be made durable", error).into())
    }
}

impl Extent for NewStreamExtent {
    fn read(
        &self,
        _start: Sector,
        _buf: &mut [u8],
        _holes: &mut Vec<SectorRange>,
    ) -> Result<(), Error> {
        Err(NewStreamError::NotReadable.into())
    }

    fn map<'a>(&'a self, _range: SectorRange) -> Box<dyn Iterator<Item = MapRun> + Send + 'a> {
        Box::new(iter::once(Err(NewStreamError::NotReadable.into())))
    }

    fn write(&self, start: Sector, buf: &[u8], _below: &dyn Below) -> Result<(), Error> {
        self.with_writer(|writer| writer.write_at(start, buf))
    }

    fn write_zeroes(
        &self,
        range: SectorRange,
        mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<(), Error> {
        if !mode.may_free() {
            return Err(NewStreamError::NoSpaceForZeros.into());
        }
        self.with_writer(|writer| writer.leave_out(range))
    }

    fn zeroes_fast(
        &self,
        _range: SectorRange,
        mode: ZeroMode,
        _below: &dyn Below,
    ) -> Result<bool, Error> {
        Ok(mode.may_free())
    }

    /// What is not written yet has nothing to discard.
    fn trim(&self, range: SectorRange, _below: &dyn Below) -> Result<(), Error> {
        self.with_writer(|writer| {
            let written = writer.written();
            if range.start() < written {
                return Err(StreamError::GoingBack(written.get()).into());
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), Error> {
        self.fuse.protect(|| {
            self.with_writer(|writer| writer.flush())?;
            self.sync()
        })
    }

    fn close(&self) -> Result<(), Error> {
        self.fuse.protect(|| {
            let writer = self.writer.lock().take();
            writer.ok_or(Refusal::WritesSuspended)?.finish()?;
            self.sync()
        })
    }

    fn allow_new_text(&self) -> Result<(), Error> {
        Err(NewStreamError::TextIsWritten.into())
    }

    fn abandon(&self) -> Result<(), Error> {
        tracing::warn!(
            "a new stream-optimised disk was dropped without being closed; it is incomplete"
        );
        Ok(())
    }

    fn grain(&self) -> Option<SectorCount> {
        Some(SectorCount::new(128))
    }
}
