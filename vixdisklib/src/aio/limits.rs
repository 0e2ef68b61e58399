//! How much a disk asks of its library at once.

use std::num::NonZeroUsize;

use disk_units::{SECTOR_SIZE, SectorCount};

/// How much of one disk is asked of the library at once.
///
/// What is in flight on a disk is at most [`depth`](Self::depth) times [`request`](Self::request). Over the network that
/// comes out of a pool of the host, which all its disks share: 32 MiB on ESXi 5.x, 48 MiB on 6.x and 7.0; beyond it
/// requests fail with [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) (Virtual Disk Programming Guide). The
/// default, 16 requests of 2 MiB, stays below that for one disk.
///
/// ```
/// use std::num::NonZeroUsize;
/// use vixdisklib::{IoLimits, RequestSize, SectorCount};
///
/// let mut limits = IoLimits::default();
/// limits.depth = NonZeroUsize::new(32).ok_or("none in flight")?;
/// limits.request = RequestSize::new(SectorCount::new(512)).ok_or("no such request")?;
/// assert_eq!(limits.request.sectors(), SectorCount::new(512));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct IoLimits {
    /// The longest request that reaches the library; longer ones go in parts.
    pub request: RequestSize,
    /// How many parts of asynchronous requests are in flight; more wait for their turn. 16 by default.
    pub depth: NonZeroUsize,
}

impl IoLimits {
    const DEFAULT_DEPTH: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
}

impl Default for IoLimits {
    fn default() -> Self {
        Self {
            request: RequestSize::MAX,
            depth: Self::DEFAULT_DEPTH,
        }
    }
}

/// The length of the longest request that reaches the library: 8 to 4096 sectors, in steps of 8. The default is the
/// longest.
///
/// VDDK sends a request over the network in one go whatever its length, and hosts fail beyond 2 MiB for lack of memory
/// (manual of nbdkit's VDDK plugin). Steps of 4 KiB keep every part of an [`AlignedBuf`](crate::AlignedBuf) as aligned as
/// the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestSize(SectorCount);

impl RequestSize {
    /// 8 sectors, which are 4 KiB.
    pub const MIN: Self = Self(SectorCount::new(8));
    /// 4096 sectors, which are 2 MiB.
    pub const MAX: Self = Self(SectorCount::new(4096));

    /// `None` if the count is no multiple of 8 from 8 to 4096.
    #[must_use]
    pub const fn new(count: SectorCount) -> Option<Self> {
        let sectors = count.get();
        let fits = sectors >= Self::MIN.0.get() && sectors <= Self::MAX.0.get();
        if fits && sectors.is_multiple_of(Self::MIN.0.get()) {
            Some(Self(count))
        } else {
            None
        }
    }

    /// The length in sectors.
    #[must_use]
    pub const fn sectors(self) -> SectorCount {
        self.0
    }

    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0.get()).expect("at most 4096") * SECTOR_SIZE
    }
}

impl Default for RequestSize {
    fn default() -> Self {
        Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_least_and_a_longest_length_in_steps() {
        let new = |sectors| RequestSize::new(SectorCount::new(sectors));
        assert_eq!(new(8), Some(RequestSize::MIN));
        assert_eq!(new(4096), Some(RequestSize::MAX));
        assert_eq!(new(4096).map(RequestSize::bytes), Some(2 << 20));
        assert!(new(16).is_some());
        for wrong in [0, 1, 4, 12, 4097, 4104, u64::MAX] {
            assert_eq!(new(wrong), None, "{wrong}");
        }
    }
}
