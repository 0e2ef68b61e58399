//! A file of the operating system.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

use disk_units::ByteLen;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::{Storage, byte_locks};

/// A regular file or a block device, accessed by position only.
///
/// Its locks are those that QEMU takes on its images, so that neither opens what the other writes.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Takes over an open file.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file }
    }

    fn fallocate(&self, flags: FallocateFlags, range: &Range<ByteLen>) -> io::Result<()> {
        let start = range.start.get();
        let length = range.end.get().saturating_sub(start);
        if length == 0 {
            return Ok(());
        }
        loop {
            return match rustix::fs::fallocate(&self.file, flags, start, length) {
                Err(Errno::INTR) => continue,
                Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    Err(io::ErrorKind::Unsupported.into())
                }
                result => Ok(result?),
            };
        }
    }
}

impl Storage for FileStorage {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        self.file.read_exact_at(buf, position.get())
    }

    fn read_exact_vectored_at(
        &self,
        mut bufs: &mut [IoSliceMut<'_>],
        position: ByteLen,
    ) -> io::Result<()> {
        let mut position = position.get();
        // Empty buffers at the front would make a read of nothing look like the end of the file.
        IoSliceMut::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            match rustix::io::preadv(&self.file, bufs, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    IoSliceMut::advance_slices(&mut bufs, read);
                    position = position.saturating_add(u64::try_from(read).unwrap_or(0));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        self.file.write_all_at(buf, position.get())
    }

    fn len(&self) -> io::Result<ByteLen> {
        let metadata = self.file.metadata()?;
        if metadata.file_type().is_block_device() {
            // The length of its node is 0. The shared file position is used by nobody.
            return Ok(ByteLen::new(rustix::fs::seek(
                &self.file,
                SeekFrom::End(0),
            )?));
        }
        Ok(ByteLen::new(metadata.len()))
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.file.set_len(len.get())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.fallocate(
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            &range,
        )
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match self.fallocate(zero, &range) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                // Some file systems, tmpfs among them, can only free the blocks and take new ones.
                self.punch_hole(range.clone())?;
                match self.fallocate(FallocateFlags::KEEP_SIZE, &range) {
                    Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
                    _ => Ok(()),
                }
            }
            result => result,
        }
    }

    fn allocate(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.fallocate(FallocateFlags::empty(), &range)
    }

    fn can_punch_holes(&self) -> bool {
        // Behind the end of the file there is nothing to free, so that the question changes nothing as long as the
        // file does not grow.
        self.len().is_ok_and(|len| {
            len.checked_add(ByteLen::new(4096))
                .is_some_and(|end| self.punch_hole(len..end).is_ok())
        })
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        let len = self.len()?;
        if position >= len {
            return Ok(None);
        }
        // Seeking moves the shared file position, which nothing here uses.
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(position.get())) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(position..len)),
            Err(error) => return Err(error.into()),
        };
        let end = match rustix::fs::seek(&self.file, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::NXIO) => start,
            Err(error) => return Err(error.into()),
        };
        // A file that changes in between may give an empty run; then all that follows counts as data.
        let end = if end > start { end } else { len.get() };
        Ok(Some(
            ByteLen::new(start.max(position.get()))..ByteLen::new(end),
        ))
    }

    fn has_holes(&self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        Ok(metadata.blocks().saturating_mul(512) < metadata.len())
    }

    fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn try_lock(&self) -> io::Result<bool> {
        byte_locks::try_lock(&self.file, byte_locks::WRITER)
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        byte_locks::try_lock(&self.file, byte_locks::READER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(range: Range<u64>) -> Range<ByteLen> {
        ByteLen::new(range.start)..ByteLen::new(range.end)
    }

    #[test]
    fn holes_are_found_and_data_is_never_one() {
        let storage = FileStorage::new(tempfile::tempfile().expect("a scratch file"));
        storage.set_len(ByteLen::new(1 << 20)).expect("extend");
        storage
            .write_all_at(&[7; 512], ByteLen::new(300_000))
            .expect("write");
        let run = storage
            .next_data(ByteLen::ZERO)
            .expect("seek")
            .expect("there is data");
        assert!(run.start.get() <= 300_000 && run.end.get() >= 300_512);
        assert_eq!(
            storage.next_data(ByteLen::new(1 << 20)).expect("seek"),
            None
        );
    }

    #[test]
    fn allocated_space_is_no_hole_and_keeps_what_was_there() {
        let storage = FileStorage::new(tempfile::tempfile().expect("a scratch file"));
        storage
            .write_all_at(&[7; 512], ByteLen::ZERO)
            .expect("write");
        storage.allocate(bytes(0..1 << 20)).expect("allocate");
        assert_eq!(storage.len().expect("length"), ByteLen::new(1 << 20));
        assert!(!storage.has_holes().expect("blocks"));
        let mut all = vec![1; 1 << 20];
        storage
            .read_exact_at(&mut all, ByteLen::ZERO)
            .expect("read");
        assert!(all.iter().take(512).all(|byte| *byte == 7));
        assert!(all.iter().skip(512).all(|byte| *byte == 0));
    }

    #[test]
    fn zeroed_and_punched_ranges_read_as_zeros_and_keep_the_length() {
        let storage = FileStorage::new(tempfile::tempfile().expect("a scratch file"));
        storage
            .write_all_at(&[7; 65536], ByteLen::ZERO)
            .expect("write");
        assert!(storage.can_punch_holes(), "the scratch folder supports it");
        storage.punch_hole(bytes(4096..8192)).expect("punch");
        storage.zero_range(bytes(12288..65536)).expect("zero");
        let mut all = [1; 65536];
        storage
            .read_exact_at(&mut all, ByteLen::ZERO)
            .expect("read");
        for (range, value) in [
            (0..4096, 7),
            (4096..8192, 0),
            (8192..12288, 7),
            (12288..65536, 0),
        ] {
            assert!(all[range].iter().all(|byte| *byte == value));
        }
        assert_eq!(storage.len().expect("length"), ByteLen::new(65536));
    }
}
