//! How a disk is opened.

use std::sync::Arc;

use crate::budget::Budget;
use crate::compress::Compression;
use crate::timeouts::Timeouts;
use crate::wire::aio::OpenFlags;

/// The least and the most data of one request, in bytes.
const REQUEST: std::ops::RangeInclusive<u32> = (64 << 10)..=(32 << 20);

/// How a disk is opened. The default is for reading, together with its parents, and without compression.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub(super) writable: bool,
    pub(super) single_link: bool,
    pub(super) compression: Compression,
    pub(super) timeouts: Timeouts,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) request: u32,
    pub(super) buffer: u32,
    pub(super) buffers: Option<u32>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// For reading.
    #[must_use]
    pub fn new() -> Self {
        Self {
            writable: false,
            single_link: false,
            compression: Compression::None,
            timeouts: Timeouts::default(),
            budget: None,
            request: 1 << 20,
            buffer: 2 << 20,
            buffers: None,
        }
    }

    /// Opens for reading and writing. The ticket has to permit it.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Opens this link of a chain without its parents. What a host then does was not observed.
    #[must_use]
    pub fn single_link(mut self, single_link: bool) -> Self {
        self.single_link = single_link;
        self
    }

    /// How data is to be compressed, in both directions where it helps.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How long the host is waited for.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How much may be in flight. By default all disks on a host share a budget, see [`Budget::of_host`].
    #[must_use]
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The most data of one request, in bytes: 1 MiB by default, at least 64 KiB, at most 32 MiB. What is longer is sent
    /// as several requests, which are in flight together.
    #[must_use]
    pub fn request_size(mut self, bytes: u32) -> Self {
        // Whole sectors, also of disks whose sectors have 4096 bytes.
        self.request = bytes.clamp(*REQUEST.start(), *REQUEST.end()) & !4095;
        self
    }

    /// The largest buffer that the host is asked for, in bytes: 2 MiB by default. It answers and is written to in pieces
    /// of that size. 64 KiB is the least, and what is asked for when more is refused.
    #[must_use]
    pub fn buffer_size(mut self, bytes: u32) -> Self {
        self.buffer = bytes;
        self
    }

    /// How many buffers the host is asked for: 4 by default, and 1 if it refuses the smallest ones.
    #[must_use]
    pub fn buffer_count(mut self, count: u32) -> Self {
        self.buffers = Some(count);
        self
    }

    pub(super) fn flags(&self) -> OpenFlags {
        let flags = if self.writable {
            OpenFlags::FOR_WRITING
        } else {
            OpenFlags::FOR_READING
        };
        if self.single_link {
            flags.without(OpenFlags::PARENTS)
        } else {
            flags
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_that_hosts_know() {
        let options = OpenOptions::new();
        assert_eq!(options.flags().0, 0x1e);
        assert_eq!(options.clone().writable(true).flags().0, 0x1a);
        assert_eq!(options.single_link(true).flags().0, 0x1c);
    }

    #[test]
    fn requests_have_a_least_and_a_most() {
        let size = |bytes| OpenOptions::new().request_size(bytes).request;
        assert_eq!(
            [size(0), size(100_000), size(u32::MAX)],
            [65536, 98304, 32 << 20]
        );
    }
}
