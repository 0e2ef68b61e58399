//! A part of an export as an export.

use disk_units::ByteLen;

use super::export::Export;
use super::layer::Layer;
use crate::{Error, ErrorKind, Operation, Result};

/// Shows clients a part of an export, a partition for instance, as if it were all.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
/// use vixdisklib::nbd::{DiskExport, Export, Window};
/// use vixdisklib::{ByteLen, Library, OpenFlags};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::empty())?.into_shared()?;
/// let partition = Window::new(DiskExport::new(disk)?, ByteLen::new(4096), ByteLen::new(10_000))?;
/// assert_eq!(partition.size(), ByteLen::new(10_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Window<E> {
    export: E,
    start: ByteLen,
    size: ByteLen,
}

impl<E: Export> Window<E> {
    /// The `size` bytes of `export` from `start`; neither need be a multiple of anything.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] if they do not lie inside the export.
    pub fn new(export: E, start: ByteLen, size: ByteLen) -> Result<Self> {
        let whole = export.size();
        if start.checked_add(size).is_none_or(|end| end > whole) {
            let text =
                format!("{size} bytes from byte {start} do not lie inside the {whole} bytes");
            return Err(Error::new(ErrorKind::OutOfRange, Operation::Serve, text));
        }
        Ok(Self {
            export,
            start,
            size,
        })
    }
}

impl<E: Export> Layer for Window<E> {
    type Below = E;

    fn below(&self) -> &E {
        &self.export
    }

    fn visible_size(&self) -> ByteLen {
        self.size
    }

    fn place(&self, offset: ByteLen) -> ByteLen {
        let place = self.start.checked_add(offset);
        place.expect("requests lie inside the window, which lies inside the export")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    use crate::nbd::export::{BlockState, BlockVisitor, ContextVisitor, ExportError, ZeroRequest};

    /// Notes what it is asked.
    #[derive(Default)]
    struct Asked(Mutex<Vec<(&'static str, u64, u64)>>);

    impl Asked {
        fn note(&self, what: &'static str, offset: ByteLen, length: u64) {
            self.0.lock().push((what, offset.get(), length));
        }
    }

    impl Export for &Asked {
        fn size(&self) -> ByteLen {
            ByteLen::new(1000)
        }
        fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
            self.note("read", offset, buf.len() as u64);
            Ok(())
        }
        fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
            self.note("write", offset, buf.len() as u64);
            Ok(())
        }
        fn write_zeroes(
            &self,
            offset: ByteLen,
            length: ByteLen,
            _: ZeroRequest,
        ) -> Result<(), ExportError> {
            self.note("zero", offset, length.get());
            Ok(())
        }
        fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
            self.note("trim", offset, length.get());
            Ok(())
        }
        fn flush(&self) -> Result<(), ExportError> {
            self.note("flush", ByteLen::ZERO, 0);
            Ok(())
        }
        fn flush_range(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
            self.note("flush", offset, length.get());
            Ok(())
        }
        fn block_status(
            &self,
            offset: ByteLen,
            length: ByteLen,
            visit: &mut BlockVisitor<'_>,
        ) -> Result<(), ExportError> {
            self.note("status", offset, length.get());
            let _ = visit(length, BlockState::Hole);
            Ok(())
        }
        fn context_status(
            &self,
            index: usize,
            offset: ByteLen,
            length: ByteLen,
            visit: &mut ContextVisitor<'_>,
        ) -> Result<(), ExportError> {
            assert_eq!(index, 7);
            self.note("context", offset, length.get());
            let _ = visit(length, 1);
            Ok(())
        }
    }

    #[test]
    fn all_is_moved_by_its_start() {
        let asked = Asked::default();
        let window = Window::new(&asked, ByteLen::new(100), ByteLen::new(33)).unwrap();
        assert_eq!(window.size(), ByteLen::new(33));
        let (at, length) = (ByteLen::new(3), ByteLen::new(30));
        window.read_at(at, &mut [0; 30]).unwrap();
        window.write_at(at, &[0; 30]).unwrap();
        window
            .write_zeroes(at, length, ZeroRequest::default())
            .unwrap();
        window.trim(at, length).unwrap();
        window.flush_range(at, length).unwrap();
        let mut visited = 0;
        let count = &mut |_: ByteLen, _| {
            visited += 1;
            std::ops::ControlFlow::Continue(())
        };
        window.block_status(at, length, count).unwrap();
        assert_eq!(visited, 1);
        let ignore = &mut |_: ByteLen, _| std::ops::ControlFlow::Continue(());
        window.context_status(7, at, length, ignore).unwrap();
        let calls = [
            "read", "write", "zero", "trim", "flush", "status", "context",
        ];
        assert_eq!(*asked.0.lock(), calls.map(|call| (call, 103, 30)));
    }

    #[test]
    fn it_lies_inside() {
        let asked = Asked::default();
        let window = |start, size| {
            let window = Window::new(&asked, ByteLen::new(start), ByteLen::new(size));
            window.map(|_| ()).map_err(|error| error.kind())
        };
        assert_eq!(window(0, 1000), Ok(()));
        assert_eq!(window(1000, 0), Ok(()));
        assert_eq!(window(1, 1000), Err(ErrorKind::OutOfRange));
        assert_eq!(window(u64::MAX, 2), Err(ErrorKind::OutOfRange));
    }
}
