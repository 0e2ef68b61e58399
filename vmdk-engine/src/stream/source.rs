//! Where a stream comes from: sectors one after another.

use std::io::{self, Read};

use super::reader::ReadFault;
use crate::error::{Error, IoFault};

/// Sectors that tables can name.
const LIMIT: u64 = 1 << 32;

/// A source, with a count of the sectors that were read from it.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    sectors: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, sectors: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// The sector that comes next.
    pub(super) fn position(&self) -> u64 {
        self.sectors
    }

    /// Fills `buf`, whole sectors.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<(), Error> {
        self.advance(u64::try_from(buf.len() / 512).unwrap_or(u64::MAX))?;
        self.inner
            .read_exact(buf)
            .map_err(|error| self.fault(error))
    }

    /// Reads one sector; `false` if the source has no more bytes.
    pub(super) fn read_unless_at_end(&mut self, sector: &mut [u8; 512]) -> Result<bool, Error> {
        let (first, rest) = sector.split_at_mut(1);
        loop {
            match self.inner.read(first) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
        self.advance(1)?;
        self.inner
            .read_exact(rest)
            .map_err(|error| self.fault(error))?;
        Ok(true)
    }

    /// Reads `sectors` and forgets them.
    pub(super) fn skip(&mut self, sectors: u64) -> Result<(), Error> {
        self.advance(sectors)?;
        let bytes = sectors.saturating_mul(512);
        let mut skipped = self.inner.by_ref().take(bytes);
        let read = io::copy(&mut skipped, &mut io::sink()).map_err(|error| self.fault(error))?;
        if read < bytes {
            return Err(self.fault(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Reads on up to sector `position`, which must not lie behind.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        self.skip(position.saturating_sub(self.sectors))
    }

    fn advance(&mut self, sectors: u64) -> Result<(), ReadFault> {
        let position = self.sectors.saturating_add(sectors);
        if position > LIMIT {
            return Err(ReadFault::TooLong);
        }
        self.sectors = position;
        Ok(())
    }

    fn fault(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadFault::Incomplete(self.sectors).into(),
            _ => IoFault::new("reading the stream", error).into(),
        }
    }
}
