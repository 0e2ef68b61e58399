//! A disk as `std::io` sees it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use disk_units::ByteLen;

use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::shared::SharedDisk;

/// A disk with a position in bytes: [`Read`], [`Write`] and [`Seek`] for code that takes those. Every call blocks.
///
/// `D` is a [`Disk`], a [`SharedDisk`], or a reference to one. The cursor keeps no data. So nothing is lost when it is
/// dropped, but small accesses are slow, each being a request of at least a sector: put a [`std::io::BufReader`] or
/// [`std::io::BufWriter`] around it for those. Sectors that are written in part are read, changed and written back, see
/// [`Disk::write_all_at`].
///
/// - Reading at the end or behind it gives 0 bytes, as at the end of a file.
/// - A disk has one size: writing there takes 0 bytes, so that `write_all` fails with [`io::ErrorKind::WriteZero`].
/// - Seeking behind the end is allowed; seeking before the start fails, and leaves the position.
/// - [`flush`](Write::flush) is [`Disk::flush`]: what was written before is then durable. Dropping does not do that.
/// - An [`Error`] is the source of every [`io::Error`] that the disk causes; its position is the one before the call.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use std::io::{Read, Seek, SeekFrom, Write};
/// use vixdisklib::{DiskCursor, Library, OpenFlags};
///
/// let disk = Library::embedded()?.connect_local()?.open_disk(&path, OpenFlags::empty())?;
/// let mut cursor = DiskCursor::new(&disk);
/// cursor.seek(SeekFrom::End(-3))?;
/// cursor.write_all(b"end")?;
/// cursor.flush()?;
/// cursor.rewind()?;
/// let mut whole = Vec::new();
/// cursor.read_to_end(&mut whole)?;
/// assert_eq!(whole.len(), 64 * 512);
/// assert!(whole.ends_with(b"\x07end"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DiskCursor<D> {
    disk: D,
    position: u64,
}

/// The disks that a [`DiskCursor`] can stand on: [`Disk`], [`SharedDisk`], and references to them.
pub trait CursorDisk: sealed::Bytes {}

impl<D: sealed::Bytes> CursorDisk for D {}

mod sealed {
    use super::{ByteLen, Disk, Result, SharedDisk};

    #[expect(
        unnameable_types,
        reason = "it keeps others from implementing `CursorDisk`"
    )]
    pub trait Bytes {
        fn size(&self) -> ByteLen;
        fn read(&self, offset: ByteLen, buf: &mut [u8]) -> Result<()>;
        fn write(&self, offset: ByteLen, buf: &[u8]) -> Result<()>;
        fn flush(&self) -> Result<()>;
    }

    macro_rules! bytes_of {
        ($($disk:ty),*) => {$(
            impl Bytes for $disk {
                fn size(&self) -> ByteLen {
                    // No disk has that many sectors that their bytes cannot be counted.
                    self.capacity().bytes().unwrap_or(ByteLen::new(u64::MAX))
                }

                fn read(&self, offset: ByteLen, buf: &mut [u8]) -> Result<()> {
                    self.read_exact_at(offset, buf)
                }

                fn write(&self, offset: ByteLen, buf: &[u8]) -> Result<()> {
                    self.write_all_at(offset, buf)
                }

                fn flush(&self) -> Result<()> {
                    Self::flush(self)
                }
            }
        )*};
    }
    bytes_of!(Disk, SharedDisk);

    impl<D: Bytes> Bytes for &D {
        fn size(&self) -> ByteLen {
            (**self).size()
        }

        fn read(&self, offset: ByteLen, buf: &mut [u8]) -> Result<()> {
            (**self).read(offset, buf)
        }

        fn write(&self, offset: ByteLen, buf: &[u8]) -> Result<()> {
            (**self).write(offset, buf)
        }

        fn flush(&self) -> Result<()> {
            (**self).flush()
        }
    }
}

impl<D: CursorDisk> DiskCursor<D> {
    /// A cursor at the start of `disk`.
    pub fn new(disk: D) -> Self {
        Self { disk, position: 0 }
    }

    /// How many bytes lie before the cursor.
    #[must_use]
    pub fn position(&self) -> ByteLen {
        ByteLen::new(self.position)
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, back.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// How many of `length` bytes lie between the cursor and the end.
    fn inside(&self, length: usize) -> usize {
        let left = self.disk.size().get().saturating_sub(self.position);
        usize::try_from(left).map_or(length, |left| length.min(left))
    }

    fn advance(&mut self, length: usize) -> usize {
        self.position += length as u64;
        length
    }
}

impl<D: CursorDisk> Read for DiskCursor<D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.inside(buf.len());
        self.disk.read(self.position(), &mut buf[..length])?;
        Ok(self.advance(length))
    }
}

impl<D: CursorDisk> Write for DiskCursor<D> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let length = self.inside(buf.len());
        self.disk.write(self.position(), &buf[..length])?;
        Ok(self.advance(length))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.disk.flush()?)
    }
}

impl<D: CursorDisk> Seek for DiskCursor<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.disk.size().get().checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = target.ok_or_else(|| {
            let text = "no position lies before the start, or 2^64 bytes behind it";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        Ok(self.position)
    }
}

/// The error as the source of one of the standard library, of the kind that comes closest.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::Locked => io::ErrorKind::ResourceBusy,
            ErrorKind::InvalidArgument | ErrorKind::OutOfRange => io::ErrorKind::InvalidInput,
            ErrorKind::InvalidDisk | ErrorKind::InvalidChain => io::ErrorKind::InvalidData,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Connection => io::ErrorKind::NotConnected,
            ErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory,
            ErrorKind::StorageFull => io::ErrorKind::StorageFull,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::api::Api;
    use crate::vddk_like::{VDDK, bytes, disk, start};
    use disk_units::Sector;
    use parking_lot::Mutex;
    use proptest::prelude::*;
    use std::io::Cursor;

    const SECTORS: usize = 6;

    /// A process starts a library once at a time.
    static TURN: Mutex<()> = Mutex::new(());
    static API: Api = Api {
        table: VDDK,
        major: Some(8),
    };

    #[derive(Clone, Debug)]
    enum Step {
        Read(usize),
        Write(usize, u8),
        Start(u64),
        End(i64),
        Current(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![3 => 0_usize..1200, 1 => Just(512_usize), 1 => Just(1024)];
        let far = i64::try_from(SECTORS * 512).expect("small") + 600;
        prop_oneof![
            3 => length.clone().prop_map(Step::Read),
            3 => (length, any::<u8>()).prop_map(|(length, byte)| Step::Write(length, byte)),
            1 => (0..far.unsigned_abs()).prop_map(Step::Start),
            1 => (-far..600).prop_map(Step::End),
            1 => (-far..far).prop_map(Step::Current),
            1 => Just(Step::Current(i64::MAX)),
        ]
    }

    /// One step, and what came of it.
    fn take(cursor: &mut (impl Read + Write + Seek), step: &Step) -> (io::Result<u64>, Vec<u8>) {
        let mut read = Vec::new();
        let result = match *step {
            Step::Read(length) => {
                read.resize(length, 0xEE);
                cursor.read(&mut read).map(|count| count as u64)
            }
            Step::Write(length, byte) => {
                cursor.write(&vec![byte; length]).map(|count| count as u64)
            }
            Step::Start(at) => cursor.seek(SeekFrom::Start(at)),
            Step::End(distance) => cursor.seek(SeekFrom::End(distance)),
            Step::Current(distance) => cursor.seek(SeekFrom::Current(distance)),
        };
        (result, read)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// The standard library's cursor over a slice, which has one size too, is the model.
        #[test]
        fn a_disk_reads_writes_and_seeks_as_a_slice_does(
            steps in proptest::collection::vec(step(), 1..40),
            shared in any::<bool>(),
        ) {
            let _turn = TURN.lock();
            let library = start(&API);
            let mut slice = bytes(SECTORS);
            let (_folder, disk) = disk(&library, &slice);
            let compare = |cursor: &mut dyn ReadWriteSeek, slice: &mut [u8]| {
                let mut model = Cursor::new(slice);
                for step in &steps {
                    let (expected, there) = take(&mut model, step);
                    let (given, here) = take(&mut &mut *cursor, step);
                    prop_assert_eq!(given.as_ref().ok(), expected.as_ref().ok(), "{:?}", step);
                    prop_assert_eq!(
                        given.err().map(|error| error.kind()),
                        expected.err().map(|error| error.kind())
                    );
                    prop_assert!(here == there);
                }
                Ok(())
            };
            let mut whole = vec![0; slice.len()];
            if shared {
                let disk = disk.into_shared().expect("a thread");
                compare(&mut DiskCursor::new(&disk), &mut slice)?;
                disk.read_at(Sector::ZERO, &mut whole).expect("read");
            } else {
                let mut cursor = DiskCursor::new(disk);
                compare(&mut cursor, &mut slice)?;
                cursor.disk().read_at(Sector::ZERO, &mut whole).expect("read");
                cursor.into_disk().close().expect("closes");
            }
            prop_assert!(whole == slice);
        }
    }

    trait ReadWriteSeek: Read + Write + Seek {}
    impl<T: Read + Write + Seek> ReadWriteSeek for T {}

    #[test]
    fn errors_keep_their_kind_and_their_cause() {
        let error = Error::new(ErrorKind::ReadOnly, crate::Operation::Write, "no");
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let inner = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Error>());
        assert_eq!(inner.map(Error::kind), Some(ErrorKind::ReadOnly));
    }
}
