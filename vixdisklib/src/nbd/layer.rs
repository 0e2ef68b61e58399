//! An export above another one.

use std::sync::Arc;

use disk_units::ByteLen;

use crate::FileRange;

use super::export::{BlockVisitor, ContextVisitor, Export, ExportError, ZeroRequest};

/// An export that shows another one in part, or does something before data passes: holds it back, counts it, refuses
/// it. All that a layer does not say otherwise is as it is below, and each layer is an [`Export`].
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use vixdisklib::ByteLen;
/// use vixdisklib::nbd::{Export, ExportError, Layer};
///
/// /// Counts the bytes that clients read.
/// struct Meter<E> {
///     export: E,
///     read: AtomicU64,
/// }
///
/// impl<E: Export> Layer for Meter<E> {
///     type Below = E;
///
///     fn below(&self) -> &E {
///         &self.export
///     }
///
///     fn before_read(&self, _offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
///         self.read.fetch_add(length.get(), Ordering::Relaxed);
///         Ok(())
///     }
/// }
/// # fn needs_export(_: impl Export) {}
/// # fn check<E: Export>(meter: Meter<E>) { needs_export(meter) }
/// ```
pub trait Layer: Send + Sync {
    /// What is below.
    type Below: Export + ?Sized;

    /// The export below; always the same.
    fn below(&self) -> &Self::Below;

    /// The size in bytes that clients see; that of the export below unless overridden. It never changes.
    fn visible_size(&self) -> ByteLen {
        self.below().size()
    }

    /// Where the byte that clients see at `offset`, which lies inside [`visible_size`](Self::visible_size), is below. The
    /// bytes behind it must follow there. The same place unless overridden.
    fn place(&self, offset: ByteLen) -> ByteLen {
        offset
    }

    /// Called before `length` bytes are read from `offset`, as clients see it. May block.
    ///
    /// # Errors
    /// What the client is told; nothing is read then.
    fn before_read(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        let _ = (offset, length);
        Ok(())
    }

    /// Called before `length` bytes are written at `offset`, as clients see it; not before they are zeroed or trimmed,
    /// where no data passes. May block.
    ///
    /// # Errors
    /// What the client is told; nothing is written then.
    fn before_write(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        let _ = (offset, length);
        Ok(())
    }
}

impl<L: Layer> Export for L {
    fn size(&self) -> ByteLen {
        self.visible_size()
    }

    fn is_read_only(&self) -> bool {
        self.below().is_read_only()
    }

    fn preferred_block(&self) -> ByteLen {
        self.below().preferred_block()
    }

    fn can_trim(&self) -> bool {
        self.below().can_trim()
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        self.before_read(offset, ByteLen::new(buf.len() as u64))?;
        self.below().read_at(self.place(offset), buf)
    }

    /// What is sent from a file is read, too, as far as a layer is concerned.
    fn file_range(&self, offset: ByteLen, length: ByteLen) -> Option<FileRange> {
        let found = self.below().file_range(self.place(offset), length)?;
        // Reading tells what is wrong.
        self.before_read(offset, found.length).ok()?;
        Some(found)
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        self.before_write(offset, ByteLen::new(buf.len() as u64))?;
        self.below().write_at(self.place(offset), buf)
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        let place = self.place(offset);
        self.below().write_zeroes(place, length, request)
    }

    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.below().trim(self.place(offset), length)
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.below().flush()
    }

    fn flush_range(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.below().flush_range(self.place(offset), length)
    }

    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        self.below().block_status(self.place(offset), length, visit)
    }

    fn expect_block_status(&self, offset: ByteLen, length: ByteLen) {
        self.below().expect_block_status(self.place(offset), length);
    }

    fn knows_zeroes(&self) -> bool {
        self.below().knows_zeroes()
    }

    fn contexts(&self) -> &[String] {
        self.below().contexts()
    }

    fn context_status(
        &self,
        index: usize,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut ContextVisitor<'_>,
    ) -> Result<(), ExportError> {
        let place = self.place(offset);
        self.below().context_status(index, place, length, visit)
    }
}

/// What is shared is served: layers take an export of any type, and this is one.
impl<E: Export + ?Sized> Layer for Arc<E> {
    type Below = E;

    fn below(&self) -> &E {
        self
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Answers nothing as exports do by themselves.
    #[derive(Default)]
    struct Odd(Vec<String>, Mutex<Option<(u64, u64)>>);

    impl Export for Odd {
        fn size(&self) -> ByteLen {
            ByteLen::new(77)
        }
        fn is_read_only(&self) -> bool {
            true
        }
        fn preferred_block(&self) -> ByteLen {
            ByteLen::new(1 << 20)
        }
        fn can_trim(&self) -> bool {
            true
        }
        fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
            Ok(())
        }
        fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), ExportError> {
            Ok(())
        }
        fn file_range(&self, offset: ByteLen, length: ByteLen) -> Option<FileRange> {
            Some(FileRange {
                file: tempfile::tempfile().ok()?,
                position: offset,
                length,
            })
        }
        fn expect_block_status(&self, offset: ByteLen, length: ByteLen) {
            *self.1.lock() = Some((offset.get(), length.get()));
        }
        fn knows_zeroes(&self) -> bool {
            true
        }
        fn contexts(&self) -> &[String] {
            &self.0
        }
    }

    /// Lets nothing pass.
    struct Refusal<E>(E);

    impl<E: Export> Layer for Refusal<E> {
        type Below = E;

        fn below(&self) -> &E {
            &self.0
        }
        fn before_read(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
            let text = format!("no {length} bytes from {offset}");
            Err(ExportError::new(crate::nbd::ErrorNumber::Io, text))
        }
        fn before_write(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
            let text = format!("no {length} bytes to {offset}");
            Err(ExportError::new(crate::nbd::ErrorNumber::Permission, text))
        }
    }

    #[test]
    fn what_a_layer_leaves_alone_is_as_below() {
        let below: Arc<dyn Export> = Arc::new(Odd(vec!["x-own:a".to_owned()], Mutex::default()));
        let layer = Refusal(Arc::new(Refusal(below)));
        assert_eq!(layer.size(), ByteLen::new(77));
        assert!(layer.is_read_only() && layer.can_trim() && layer.knows_zeroes());
        assert_eq!(layer.preferred_block(), ByteLen::new(1 << 20));
        assert_eq!(layer.contexts(), ["x-own:a"]);
    }

    /// Shows what is behind so many bytes.
    struct Behind(u64, Odd);

    impl Layer for Behind {
        type Below = Odd;

        fn below(&self) -> &Odd {
            &self.1
        }
        fn place(&self, offset: ByteLen) -> ByteLen {
            ByteLen::new(self.0 + offset.get())
        }
    }

    #[test]
    fn what_lies_in_a_file_passes_layers_too() {
        let (at, length) = (ByteLen::new(5), ByteLen::new(3));
        let layer = Behind(7, Odd::default());
        let found = layer.file_range(at, length).unwrap();
        assert_eq!((found.position, found.length), (ByteLen::new(12), length));
        assert!(Refusal(layer).file_range(at, length).is_none());
    }

    #[test]
    fn what_is_expected_below_is_where_it_lies_below() {
        let layer = Arc::new(Behind(7, Odd::default()));
        layer.expect_block_status(ByteLen::new(5), ByteLen::new(3));
        assert_eq!(*layer.below().below().1.lock(), Some((12, 3)));
    }

    #[test]
    fn a_layer_may_refuse_before_data_passes() {
        let layer = Refusal(Arc::new(Odd::default()));
        let (at, length) = (ByteLen::new(5), ByteLen::new(3));
        let read = layer.read_at(at, &mut [0; 3]).unwrap_err();
        assert_eq!(read.message(), format!("no {length} bytes from {at}"));
        let written = layer.write_at(at, &[0; 3]).unwrap_err();
        assert_eq!(written.message(), format!("no {length} bytes to {at}"));
        let zeroed = layer.write_zeroes(at, length, ZeroRequest::default());
        assert_eq!(zeroed, Ok(()));
    }
}
