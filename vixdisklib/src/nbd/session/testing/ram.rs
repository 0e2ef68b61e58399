//! Exports in memory.

use std::borrow::Cow;
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use disk_units::ByteLen;
use parking_lot::Mutex;

use crate::FileRange;
use crate::nbd::ErrorNumber;
use crate::nbd::export::{
    BlockState, BlockVisitor, ContextVisitor, Export, ExportError, ZeroRequest,
};

/// An export in memory, whose calls can be held back and made to fail.
#[derive(Debug)]
pub(in crate::nbd::session) struct Ram {
    pub(in crate::nbd::session) bytes: Mutex<Vec<u8>>,
    pub(in crate::nbd::session) read_only: bool,
    /// Reads of this offset wait until something is sent.
    pub(in crate::nbd::session) gate: Mutex<Option<(u64, Receiver<()>)>>,
    pub(in crate::nbd::session) flushes: Mutex<Vec<Cow<'static, str>>>,
    /// The size that the export says, if that is not the number of its bytes.
    pub(in crate::nbd::session) claimed_size: Option<u64>,
    /// What was read, in order.
    pub(in crate::nbd::session) reads: Mutex<Vec<Range<u64>>>,
    /// Reads that begin here fail.
    pub(in crate::nbd::session) broken: Range<u64>,
    pub(in crate::nbd::session) knows_zeroes: bool,
    /// About what it was told to expect questions.
    pub(in crate::nbd::session) expected: Mutex<Vec<(u64, u64)>>,
    /// The size of the pieces that alternate between data and hole.
    pub(in crate::nbd::session) piece: u64,
    pub(in crate::nbd::session) contexts: Vec<String>,
    /// A file with all the bytes behind this position, told in runs of as many bytes.
    pub(in crate::nbd::session) file: Option<(File, u64)>,
}

impl Ram {
    pub(in crate::nbd::session) fn new(size: usize) -> Self {
        Self {
            bytes: Mutex::new(vec![0; size]),
            read_only: false,
            gate: Mutex::new(None),
            flushes: Mutex::default(),
            claimed_size: None,
            reads: Mutex::default(),
            broken: 0..0,
            knows_zeroes: false,
            expected: Mutex::default(),
            piece: 1000,
            contexts: Vec::new(),
            file: None,
        }
    }

    pub(in crate::nbd::session) fn read_only(size: usize) -> Self {
        Self {
            read_only: true,
            ..Self::new(size)
        }
    }

    fn clear(&self, how: &'static str, offset: ByteLen, length: ByteLen) {
        if self.claimed_size.is_some() {
            let what = format!("{how} {}", length.get());
            self.flushes.lock().push(what.into());
        } else {
            self.bytes.lock()[index(offset)..][..index(length)].fill(0);
            self.flushes.lock().push(how.into());
        }
    }

    /// Makes reads at `offset` wait until the sender has sent.
    pub(in crate::nbd::session) fn hold(&self, offset: u64) -> Sender<()> {
        let (sender, receiver) = channel();
        *self.gate.lock() = Some((offset, receiver));
        sender
    }
}

fn index(position: ByteLen) -> usize {
    usize::try_from(position.get()).unwrap()
}

impl Export for Arc<Ram> {
    fn size(&self) -> ByteLen {
        let real = self.bytes.lock().len().try_into().unwrap();
        ByteLen::new(self.claimed_size.unwrap_or(real))
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn can_trim(&self) -> bool {
        true
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        self.reads
            .lock()
            .push(offset.get()..offset.get() + u64::try_from(buf.len()).unwrap());
        if self.broken.contains(&offset.get()) {
            return Err(ExportError::new(ErrorNumber::Io, "a bad sector"));
        }
        let gate = self.gate.lock().take_if(|gate| gate.0 == offset.get());
        if let Some((_, receiver)) = gate {
            receiver.recv().unwrap();
        }
        buf.copy_from_slice(&self.bytes.lock()[index(offset)..][..buf.len()]);
        Ok(())
    }

    fn file_range(&self, offset: ByteLen, length: ByteLen) -> Option<FileRange> {
        assert!(self.read_only, "its files may change");
        let (file, run) = self.file.as_ref()?;
        let end = (offset.get() + 1).next_multiple_of(*run);
        Some(FileRange {
            file: file.try_clone().unwrap(),
            position: ByteLen::new(run + offset.get()),
            length: ByteLen::new(length.get().min(end - offset.get())),
        })
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        if buf.starts_with(b"fail") {
            return Err(ExportError::new(ErrorNumber::Io, "the medium is broken"));
        }
        self.bytes.lock()[index(offset)..][..buf.len()].copy_from_slice(buf);
        self.flushes.lock().push("write".into());
        Ok(())
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        if request.fast_only {
            return Err(ExportError::new(ErrorNumber::NotSupported, "not fast"));
        }
        self.clear(
            if request.may_free { "free" } else { "zero" },
            offset,
            length,
        );
        Ok(())
    }

    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.clear("trim", offset, length);
        Ok(())
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.flushes.lock().push("flush".into());
        Ok(())
    }

    fn expect_block_status(&self, offset: ByteLen, length: ByteLen) {
        let asked = (offset.get(), length.get());
        self.expected.lock().push(asked);
        assert!(asked != (1, 1), "a panic that the client must not notice");
    }

    fn knows_zeroes(&self) -> bool {
        self.knows_zeroes
    }

    fn contexts(&self) -> &[String] {
        &self.contexts
    }

    /// The flags are the number of the thousand, and more for each context.
    fn context_status(
        &self,
        index: usize,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut ContextVisitor<'_>,
    ) -> Result<(), ExportError> {
        let mut at = offset.get();
        while at < offset.get() + length.get() {
            let thousand = at / 1000;
            let next = (thousand + 1) * 1000;
            let flags = u32::try_from(thousand).unwrap() + 100 * u32::try_from(index).unwrap();
            if let ControlFlow::Break(()) = visit(ByteLen::new(next - at), flags) {
                break;
            }
            at = next;
        }
        Ok(())
    }

    /// Alternates between data and hole.
    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        let mut at = offset.get();
        while at < offset.get() + length.get() {
            let next = (at / self.piece + 1) * self.piece;
            let state = if (at / self.piece).is_multiple_of(2) {
                BlockState::Data
            } else {
                BlockState::Hole
            };
            if let ControlFlow::Break(()) = visit(ByteLen::new(next - at), state) {
                break;
            }
            at = next;
        }
        Ok(())
    }
}

/// An export that is nothing but a map.
pub(in crate::nbd::session) struct Map(pub(in crate::nbd::session) Vec<(u64, BlockState)>);

impl Export for Map {
    fn size(&self) -> ByteLen {
        ByteLen::new(self.0.iter().map(|piece| piece.0).sum())
    }

    fn read_at(&self, _: ByteLen, _: &mut [u8]) -> Result<(), ExportError> {
        panic!("no contents")
    }

    fn write_at(&self, _: ByteLen, _: &[u8]) -> Result<(), ExportError> {
        Err(ExportError::new(ErrorNumber::NotSupported, "no contents"))
    }

    fn write_zeroes(&self, _: ByteLen, _: ByteLen, _: ZeroRequest) -> Result<(), ExportError> {
        Err(ExportError::new(ErrorNumber::NotSupported, "slow"))
    }

    fn flush(&self) -> Result<(), ExportError> {
        Ok(())
    }

    fn block_status(
        &self,
        _: ByteLen,
        _: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        for (length, state) in &self.0 {
            if visit(ByteLen::new(*length), *state).is_break() {
                return Ok(());
            }
        }
        Err(ExportError::new(ErrorNumber::Io, "end of the map"))
    }
}
