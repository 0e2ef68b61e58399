//! An export that is not read or written faster than it may be.

use std::thread;
use std::time::{Duration, Instant};

use disk_units::ByteLen;
use parking_lot::Mutex;

use super::export::{Export, ExportError};
use super::layer::Layer;

/// Holds reads and writes of an export back so that, over a second, no more bytes pass than may.
///
/// All clients share the rates. Zeroing and trimming move no bytes and are not held back. A request waits on its own
/// thread, without holding up others that need not wait; one that is longer than what may pass in a second takes
/// accordingly long, also when the server is about to stop.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::nbd::{DiskExport, RateLimit};
/// use vixdisklib::{ByteLen, Library, OpenFlags};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::empty())?.into_shared()?;
/// let export = RateLimit::new(DiskExport::new(disk)?)
///     .reads(ByteLen::new(100 << 20))
///     .writes(ByteLen::new(20 << 20));
/// # drop(export);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RateLimit<E> {
    export: E,
    /// When the buckets began to fill.
    begin: Instant,
    reads: Option<Mutex<Bucket>>,
    writes: Option<Mutex<Bucket>>,
}

impl<E: Export> RateLimit<E> {
    /// An export that is as fast as `export` until it is told otherwise.
    pub fn new(export: E) -> Self {
        Self {
            export,
            begin: Instant::now(),
            reads: None,
            writes: None,
        }
    }

    /// At most so many bytes are read in a second; 0 is taken for 1.
    #[must_use]
    pub fn reads(mut self, per_second: ByteLen) -> Self {
        self.reads = Some(Mutex::new(Bucket::new(per_second)));
        self
    }

    /// At most so many bytes are written in a second; 0 is taken for 1.
    #[must_use]
    pub fn writes(mut self, per_second: ByteLen) -> Self {
        self.writes = Some(Mutex::new(Bucket::new(per_second)));
        self
    }

    /// Waits until so many bytes may pass.
    fn hold_back(&self, bucket: Option<&Mutex<Bucket>>, bytes: ByteLen) {
        if let Some(bucket) = bucket {
            let wait = bucket.lock().take(bytes.get(), self.begin.elapsed());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
        }
    }
}

/// Bytes that may pass: at most as many as come in a second, and fewer than none when some were given on credit. Who
/// takes on credit waits until it is paid back, and the next one takes behind him.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// When it will be, or was, empty: it has filled since.
    empty_at: Duration,
}

impl Bucket {
    /// An empty one.
    fn new(per_second: ByteLen) -> Self {
        Self {
            per_second: per_second.get().max(1),
            empty_at: Duration::ZERO,
        }
    }

    /// Takes `bytes`, and tells how long to wait for them.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let full_since = now.saturating_sub(Duration::from_secs(1));
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let filling = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.empty_at = self.empty_at.max(full_since).saturating_add(filling);
        self.empty_at.saturating_sub(now)
    }
}

impl<E: Export> Layer for RateLimit<E> {
    type Below = E;

    fn below(&self) -> &E {
        &self.export
    }

    fn before_read(&self, _: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.hold_back(self.reads.as_ref(), length);
        Ok(())
    }

    fn before_write(&self, _: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.hold_back(self.writes.as_ref(), length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn bytes_pass_at_their_rate() {
        let mut bucket = Bucket::new(ByteLen::new(1000));
        assert_eq!(bucket.take(500, ms(0)), ms(500), "nothing has come yet");
        assert_eq!(bucket.take(500, ms(0)), ms(1000), "behind the first");
        assert_eq!(bucket.take(100, ms(1000)), ms(100));
        // After a long time it holds what comes in a second, and no more.
        assert_eq!(bucket.take(600, ms(9000)), ms(0));
        assert_eq!(bucket.take(500, ms(9000)), ms(100));
        assert_eq!(bucket.take(0, ms(9100)), ms(0));
    }

    #[test]
    fn no_rate_and_no_length_is_too_much() {
        let mut bucket = Bucket::new(ByteLen::ZERO);
        assert_eq!(bucket.take(3, ms(0)), ms(3000));
        assert!(bucket.take(u64::MAX, ms(0)) > ms(3000));
        assert!(bucket.take(u64::MAX, ms(0)) > ms(3000), "no overflow");
        let mut bucket = Bucket::new(ByteLen::new(u64::MAX));
        assert_eq!(bucket.take(1 << 30, ms(5000)), ms(0));
    }

    proptest! {
        /// Whoever comes when, with a clock of our own: from any moment on, no more bytes pass than come until then, and
        /// what a second brought before.
        #[test]
        fn no_more_passes_than_may(steps in prop::collection::vec((0_u64..3000, 0_u64..5000), 1..50)) {
            let per_second = 1000;
            let mut bucket = Bucket::new(ByteLen::new(per_second));
            let mut now = ms(5000);
            let mut passed = Vec::new();
            for (pause, bytes) in steps {
                now += ms(pause);
                passed.push((now + bucket.take(bytes, now), bytes));
            }
            for (index, (from, _)) in passed.iter().enumerate() {
                let mut total = 0;
                for (until, bytes) in &passed[index..] {
                    total += bytes;
                    let time = u64::try_from((*until - *from).as_millis()).unwrap();
                    // The first request is as long as it is.
                    let most = per_second * time / 1000 + per_second + passed[index].1;
                    prop_assert!(total <= most + 1, "{total} bytes in {time} ms");
                }
            }
        }
    }
}
