//! What all calls on a disk share.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use disk_units::{ByteLen, Sector, SectorRange};

use super::flight::{Flight, is_callback};
use super::link::{Link, Open, Shape};
use super::options::OpenOptions;
use super::recovery::Recovery;
use crate::dial::Dial;
use crate::error::ErrorKind;
use crate::failure::Failure;

/// What a position counts, in bytes.
const SECTOR: u64 = 512;

/// Requests are not made smaller than this, in bytes.
pub(super) const LEAST: u32 = 64 << 10;

pub(super) struct Core {
    pub(super) path: String,
    pub(super) options: OpenOptions,
    pub(super) shape: Shape,
    pub(super) link: Link,
    pub(super) flight: Flight,
    pub(super) recovery: Recovery,
    /// The most data of a request, in bytes. It shrinks when the host has no memory.
    request: AtomicU32,
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Core")
            .field("path", &self.path)
            .field("options", &self.options)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn open(
        dial: Box<dyn Dial>,
        path: &str,
        options: &OpenOptions,
    ) -> Result<Self, Failure> {
        let open = Open::dial(&*dial, path, options)?;
        let shape = open.shape;
        Ok(Self {
            path: path.to_owned(),
            options: options.clone(),
            shape,
            link: Link::new(dial, path, options, open),
            flight: Flight::default(),
            recovery: Recovery::default(),
            request: AtomicU32::new(options.request),
        })
    }

    /// The most data of a request, in bytes.
    pub(super) fn request_size(&self) -> u32 {
        self.request.load(Ordering::Relaxed)
    }

    /// Requests of `size` bytes may still be too large, those above were.
    pub(super) fn shrink_requests(&self, size: u32) {
        self.request.fetch_min(size.max(LEAST), Ordering::Relaxed);
    }

    /// The sectors from `start` that take `length` bytes.
    pub(super) fn range(&self, start: Sector, length: usize) -> Result<SectorRange, Failure> {
        refuse_callbacks()?;
        let invalid = |why| Err(Failure::request(ErrorKind::InvalidArgument, why));
        if length == 0 {
            return invalid("there are no sectors in it");
        }
        let length = ByteLen::new(u64::try_from(length).unwrap_or(u64::MAX));
        let sectors = u64::from(self.shape.sector_size).checked_div(SECTOR);
        let whole = |sector: u64| sectors.is_some_and(|size| sector.checked_rem(size) == Some(0));
        let count = match length.whole_sectors() {
            Some(count) if whole(count.get()) && whole(start.get()) => count,
            _ => return invalid("it does not consist of whole sectors"),
        };
        SectorRange::new(start, count)
            .filter(|range| range.end().get() <= self.shape.capacity.get())
            .ok_or(Failure::request(
                ErrorKind::OutOfRange,
                "it ends after the last sector of the disk",
            ))
    }

    /// These bytes, in words.
    pub(super) fn place(&self, start: Sector, length: usize) -> String {
        let length = ByteLen::new(u64::try_from(length).unwrap_or(u64::MAX));
        let range = SectorRange::new(start, length.sectors_rounded_up());
        range.map_or_else(
            || self.path.clone(),
            |range| format!("sectors {range} of {}", self.path),
        )
    }

    /// Waits until nothing is in flight that is now.
    pub(super) fn wait(&self) -> Result<(), Failure> {
        refuse_callbacks()?;
        self.flight.wait();
        Ok(())
    }

    pub(super) fn close(&self) -> Result<(), Failure> {
        if is_callback() {
            // What is in flight waits for this very thread.
            self.link.abandon();
            return Ok(());
        }
        self.flight.wait();
        self.link.close()
    }
}

/// A callback that used the disk could wait for what only its own thread can bring.
pub(super) fn refuse_callbacks() -> Result<(), Failure> {
    if is_callback() {
        return Err(Failure::request(
            ErrorKind::InvalidArgument,
            "a callback must not use the disk",
        ));
    }
    Ok(())
}
