//! What is served: a disk in memory that knows its zeroes.

use std::sync::LazyLock;

use disk_units::ByteLen;
use parking_lot::Mutex;
use vixdisklib::nbd::{
    BlockState, BlockVisitor, ContextVisitor, ErrorNumber, Export, ExportError, ZeroRequest,
};

use super::Setting;

/// Not a multiple of anything, so that the end is unaligned.
pub(super) const SIZE: usize = 40_001;

const BLOCK: usize = 4096;

/// Besides `base:allocation`.
pub(super) const CONTEXTS: [&str; 2] = ["qemu:allocation-depth", "x-fuzz:blocks"];

/// Data, with holes of several sizes.
pub(super) fn content() -> Vec<u8> {
    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(make);
    CONTENT.clone()
}

fn make() -> Vec<u8> {
    (0..SIZE)
        .map(|index| match index / BLOCK % 7 {
            1 | 4 | 5 => 0,
            _ => u8::try_from(index % 251).expect("small") | 1,
        })
        .collect()
}

#[derive(Debug)]
pub(super) struct Memory {
    setting: Setting,
    contexts: Vec<String>,
    bytes: Mutex<Vec<u8>>,
}

impl Memory {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            contexts: CONTEXTS.map(str::to_owned).to_vec(),
            bytes: Mutex::new(content()),
        }
    }
}

fn index(position: ByteLen) -> usize {
    usize::try_from(position.get()).expect("inside the disk")
}

fn bytes(length: usize) -> ByteLen {
    ByteLen::new(u64::try_from(length).expect("inside the disk"))
}

impl Export for Memory {
    fn size(&self) -> ByteLen {
        bytes(SIZE)
    }

    fn is_read_only(&self) -> bool {
        self.setting.read_only
    }

    fn can_trim(&self) -> bool {
        true
    }

    fn knows_zeroes(&self) -> bool {
        self.setting.knows_zeroes
    }

    fn read_at(&self, offset: ByteLen, buf: &mut [u8]) -> Result<(), ExportError> {
        assert!(!buf.is_empty());
        buf.copy_from_slice(&self.bytes.lock()[index(offset)..][..buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: ByteLen, buf: &[u8]) -> Result<(), ExportError> {
        assert!(!self.setting.read_only && !buf.is_empty());
        self.bytes.lock()[index(offset)..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn write_zeroes(
        &self,
        offset: ByteLen,
        length: ByteLen,
        request: ZeroRequest,
    ) -> Result<(), ExportError> {
        assert!(!self.setting.read_only && !length.is_zero());
        if request.fast_only && !offset.get().is_multiple_of(512) {
            return Err(ExportError::new(ErrorNumber::NotSupported, "not fast"));
        }
        self.bytes.lock()[index(offset)..][..index(length)].fill(0);
        Ok(())
    }

    fn trim(&self, offset: ByteLen, length: ByteLen) -> Result<(), ExportError> {
        self.write_zeroes(offset, length, ZeroRequest::default())
    }

    fn flush(&self) -> Result<(), ExportError> {
        Ok(())
    }

    fn block_status(
        &self,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<(), ExportError> {
        let (mut at, end) = (index(offset), index(offset) + index(length));
        while at < end {
            let next = (at / BLOCK + 1) * BLOCK;
            let zero = self.bytes.lock()[at / BLOCK * BLOCK..next.min(SIZE)]
                .iter()
                .all(|byte| *byte == 0);
            let state = if zero {
                BlockState::Hole
            } else {
                BlockState::Data
            };
            if visit(bytes(next - at), state).is_break() {
                break;
            }
            at = next;
        }
        Ok(())
    }

    fn contexts(&self) -> &[String] {
        &self.contexts
    }

    /// The first has one state, the second counts blocks.
    fn context_status(
        &self,
        context: usize,
        offset: ByteLen,
        length: ByteLen,
        visit: &mut ContextVisitor<'_>,
    ) -> Result<(), ExportError> {
        let (mut at, end) = (index(offset), index(offset) + index(length));
        while at < end {
            let block = at / 512;
            let flags = u32::try_from(block * context).expect("small");
            if visit(bytes((block + 1) * 512 - at), flags).is_break() {
                break;
            }
            at = (block + 1) * 512;
        }
        Ok(())
    }
}
